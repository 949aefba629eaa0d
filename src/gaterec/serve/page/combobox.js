// A field with suggestions, after the ARIA pattern "editable combobox with list autocomplete": focus stays in the field, arrows move through the list.

import { newest } from "./api.js";
import { h, newId } from "./dom.js";
import { attempt, say } from "./live.js";
import { several } from "./figures.js";

const PAUSE = 150; // milliseconds without a key before the server is asked

/**
 * label: what the field is for. find(text, signal): its suggestions, each { value, label, note }. choose(value, label): one was chosen.
 * free: whether a text that is none of them may be chosen too. keep: whether the chosen text stays in the field.
 */
export function combobox({ label, placeholder, find, choose, signal, free = false, keep = false }) {
  const id = newId("field");
  const listId = newId("list");
  const fresh = newest(signal);
  const list = h("ul", { role: "listbox", id: listId, "aria-label": label, hidden: true });
  const field = h("input", {
    id,
    type: "text",
    role: "combobox",
    placeholder,
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    maxlength: free ? 512 : 100,
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": listId,
    oninput: () => soon(PAUSE),
    onfocus: () => soon(0),
    onclick: () => list.hidden && soon(0),
    onblur: close,
    onkeydown: pressed,
  });
  let options = [];
  let active = -1;
  let timer = 0;

  function soon(pause) {
    clearTimeout(timer);
    timer = setTimeout(search, pause);
  }

  async function search() {
    const mine = fresh();
    const found = await attempt(() => find(field.value.trim(), mine));
    if (found === undefined || mine.aborted || document.activeElement !== field) return;
    options = found;
    list.replaceChildren(
      ...(options.length ? options.map(row) : [h("li", { class: "none" }, free ? "Nobody found; Enter takes the text as it is." : "Nothing found.")]),
    );
    open(true);
    mark(-1);
    say(options.length ? `${several(options.length, "suggestion")}; arrow keys move through them.` : "No suggestions.");
  }

  function row(option, place) {
    return h(
      "li",
      { role: "option", id: `${listId}-${place}`, "aria-selected": "false", onpointerdown: (event) => event.preventDefault(), onclick: () => take(option) },
      h("span", {}, option.label),
      option.note && h("small", {}, option.note),
    );
  }

  function open(yes) {
    list.hidden = !yes;
    list.setAttribute("role", options.length ? "listbox" : "presentation");
    field.setAttribute("aria-expanded", String(yes && options.length > 0));
  }

  function close() {
    clearTimeout(timer);
    fresh();
    open(false);
    mark(-1);
  }

  function mark(place) {
    active = place;
    for (const [number, element] of [...list.querySelectorAll("[role=option]")].entries()) {
      element.setAttribute("aria-selected", String(number === active));
      if (number === active) element.scrollIntoView({ block: "nearest" });
    }
    if (active < 0) field.removeAttribute("aria-activedescendant");
    else field.setAttribute("aria-activedescendant", `${listId}-${active}`);
  }

  function take({ value, label: text }) {
    close();
    field.value = keep ? text : "";
    choose(value, text);
  }

  function pressed(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (list.hidden) soon(0);
      else if (options.length) mark(active < 0 ? (step > 0 ? 0 : options.length - 1) : (active + step + options.length) % options.length);
    } else if (event.key === "Enter") {
      const text = field.value.trim();
      const exact = options.find((option) => !list.hidden && option.label.toLowerCase() === text.toLowerCase());
      if (active >= 0) take(options[active]);
      else if (free && text) take({ value: text, label: text });
      else if (exact) take(exact);
      event.preventDefault();
    } else if (event.key === "Escape") {
      if (list.hidden) field.value = "";
      close();
    }
  }

  return h("div", { class: "combobox" }, h("label", { for: id }, label), field, list);
}
