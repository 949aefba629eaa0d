// Where the page begins: which address shows what.

import { h } from "./dom.js";
import { item, itemField, items } from "./items.js";
import { model } from "./model.js";
import { person, personField } from "./people.js";
import { play } from "./play.js";
import { asPlayed } from "./played.js";
import { go, link, start } from "./router.js";

const main = document.getElementById("main");

const welcome = {
  steps: 1,
  make: (path, signal) => ({
    title: "What will they want next?",
    element: [
      h("h1", { tabindex: -1 }, "What will they want next?"),
      h("p", { class: "lead" }, "Recommendations from the order of what people chose before, each with its reasons."),
      h(
        "div",
        { class: "ways" },
        h("section", { class: "panel" }, h("h2", {}, "Somebody of the log"), ...personField(signal)),
        h(
          "section",
          { class: "panel" },
          h("h2", {}, "Play somebody"),
          itemField({ label: "Choose a first item", signal, choose: (id) => go(link(["play", id])) }),
          h("a", { class: "button", href: asPlayed() }, "Start with nobody"),
        ),
      ),
    ],
  }),
};

const missing = {
  steps: 0,
  make: () => ({
    title: "Not found",
    element: [h("h1", { tabindex: -1 }, "There is nothing here"), h("p", {}, h("a", { href: "#/" }, "Begin anew"))],
  }),
};

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is for what is shown
  main.focus();
});
document.querySelector("nav [data-view=play]").addEventListener("click", (event) => {
  event.currentTarget.href = asPlayed();
});

start(main, { start: welcome, person, play, items, item, model, missing });
