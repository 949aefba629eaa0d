// Items: what they are called, how they are found, and a page for each.

import { ask } from "./api.js";
import { combobox } from "./combobox.js";
import { h, visible } from "./dom.js";
import { decimal, figure, several } from "./figures.js";
import { attempt } from "./live.js";
import { extended } from "./played.js";
import { go, link } from "./router.js";

const titles = new Map();

/** What people know an item by; its id where it has no title. Remembered for those who have the id alone. */
export function nameOf({ item, title }) {
  const name = visible(title ?? item);
  titles.set(item, name);
  return name;
}

/** The same from the id: at once where the item was seen before. */
export async function nameFor(item, signal) {
  return titles.get(item) ?? nameOf(await ask("/item", { query: { item }, signal }));
}

/** A link to an item's page. */
export const itemLink = (item) => h("a", { href: link(["item", item.item]) }, nameOf(item));

/** A field that finds items by their title. */
export const itemField = (options) =>
  combobox({
    placeholder: "Part of a title",
    find: async (q, signal) => (await ask("/items", { query: { q, limit: 12 }, signal })).items.map(asOption),
    ...options,
  });

function asOption(item) {
  const label = nameOf(item);
  return { value: item.item, label, note: label === visible(item.item) ? null : item.item };
}

export const items = {
  steps: 1,
  make(path, signal) {
    const list = h("ol", { class: "plain" });
    attempt(async () => {
      const found = await ask("/items", { signal });
      list.replaceChildren(...found.items.map((item) => h("li", {}, itemLink(item))));
    });
    return {
      title: "Items",
      element: [
        h("h1", { tabindex: -1 }, "Items"),
        h("div", { class: "narrow" }, itemField({ label: "Find an item", signal, choose: (item) => go(link(["item", item])) })),
        h("section", {}, h("h2", {}, "The most chosen"), list),
      ],
    };
  },
};

export const item = {
  steps: 2,
  under: "items",
  make([, id = ""], signal) {
    const heading = h("h1", { tabindex: -1 }, titles.get(id) ?? id);
    const facts = h("dl", { class: "facts" });
    const similar = h("ol", { class: "plain similar" });
    const view = {
      title: heading.textContent,
      element: [
        heading,
        h(
          "div",
          { class: "columns" },
          h(
            "section",
            { class: "panel" },
            h("h2", {}, "What the run knows of it"),
            facts,
            h("a", { class: "button chief", href: extended(id) }, "Add to the played person"),
          ),
          h("section", {}, h("h2", {}, "Chosen like this one"), similar),
        ),
      ],
    };
    attempt(async () => {
      const found = await ask("/item", { query: { item: id }, signal });
      heading.textContent = view.title = nameOf(found);
      document.title = `${view.title} · gaterec`;
      const told = Object.entries(found.columns).filter(([, value]) => value !== null && value !== found.title);
      const rows = [["id", found.item], ...told, ["chosen", `${several(found.training_count, "time")} in training`]];
      facts.replaceChildren(...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]));
      const alike = await ask("/similar", { query: { item: id, k: 10 }, signal });
      similar.replaceChildren(...alike.items.map((other) => h("li", {}, itemLink(other), closeness(other.score))));
    });
    return view;
  },
};

function closeness(cosine) {
  const width = `${(100 * Math.max(0, cosine)).toFixed(1)}%`;
  return h("span", { class: "closeness", title: `cosine ${decimal(cosine)}` }, h("i", { style: { width } }), figure(cosine, 2));
}
