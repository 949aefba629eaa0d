// Play somebody: start with nobody, choose items, and see what would be recommended next. The address holds the items; nothing is stored.

import { h } from "./dom.js";
import { several } from "./figures.js";
import { itemField, nameFor } from "./items.js";
import { attempt } from "./live.js";
import { extended, keepPlayed } from "./played.js";
import { recommendations } from "./recommendations.js";
import { go, link } from "./router.js";

export const play = {
  steps: 1,
  make(path, signal) {
    const chosen = h("ol", { class: "plain history", reversed: true });
    const chosenCount = h("h2", {});
    const again = h("a", { class: "button", href: link(["play"]) }, "Start again");
    const choose = (item) => go(extended(item));
    const list = recommendations({ signal, choose });

    function show({ path: [, ...history], query }) {
      keepPlayed(history);
      again.hidden = !history.length;
      chosenCount.textContent = history.length ? several(history.length, "item") + " chosen, the latest first" : "Nothing chosen yet";
      list.show({ history }, query);
      attempt(async () => {
        const names = await Promise.all(history.map((item) => nameFor(item, signal)));
        const rows = history.map((item, place) => row(item, names[place], history.toSpliced(place, 1)));
        chosen.replaceChildren(...rows.reverse());
      });
    }

    return {
      title: "Play somebody",
      show,
      element: [
        h("h1", { tabindex: -1 }, "Play somebody"),
        h("p", { class: "lead" }, "Choose a few items, and see what this person would be recommended next."),
        h(
          "div",
          { class: "columns" },
          h(
            "section",
            { class: "panel", "aria-label": "The played person" },
            itemField({ label: "Choose an item", signal, choose }),
            chosenCount,
            chosen,
            again,
            h("p", { class: "note" }, "Nothing of this is stored. The items stand in this page’s address and go along with each question."),
          ),
          list.element,
        ),
      ],
    };
  },
};

function row(item, name, without) {
  return h(
    "li",
    {},
    h("a", { href: link(["item", item]) }, name),
    h("a", { class: "remove", href: link(["play", ...without]), "aria-label": `Without ${name}`, title: "Take it away" }, "\u00d7"),
  );
}
