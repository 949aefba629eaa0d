// The list of recommendations. Each opens into its explanation; it changes as its person does.

import { ask, newest } from "./api.js";
import { h, newId } from "./dom.js";
import { count, figure } from "./figures.js";
import { explanation } from "./explanation.js";
import { itemLink, nameOf } from "./items.js";
import { attempt, say } from "./live.js";
import { change } from "./router.js";

const STEP = 10;
const MOST = 100;

const BASES = {
  "person and history": "Based on the person and their history. Open one to see why.",
  history: "Based on the history alone. Open one to see why.",
  popularity: "Based on popularity: nothing is known of this person, so these are the items that most people chose, and there is nothing to explain.",
};

/** choose(item): where given, each row has a button that takes the item. */
export function recommendations({ signal, choose }) {
  const fresh = newest(signal);
  const heading = h("h2", { id: newId("list"), tabindex: -1 }, "Recommendations");
  const basis = h("p", { class: "note" });
  const list = h("ol", { class: "recommendations" });
  const more = h("button", { type: "button", hidden: true, onclick: () => change({ k: wanted.k + STEP }) }, "Show more");
  const by = h("p", { class: "note small" });
  const element = h("section", { class: "answer", "aria-labelledby": heading.id }, heading, basis, list, more, by);
  let wanted = null;
  let why = null;
  let rows = [];

  async function load() {
    const mine = fresh();
    list.setAttribute("aria-busy", "true");
    const answer = await attempt(() => ask("/recommend", { body: wanted, signal: mine }));
    if (mine.aborted) return;
    list.removeAttribute("aria-busy");
    if (answer === undefined) return;
    const explained = answer.based_on !== "popularity";
    const places = new Map(rows.map((row) => [row.item, row.element.getBoundingClientRect().top]));
    const focused = rows.findIndex((row) => row.element.contains(document.activeElement));
    rows = answer.items.map((item) => makeRow(item, explained));
    list.replaceChildren(...rows.map((row) => row.element));
    if (focused >= 0) (rows[Math.min(focused, rows.length - 1)]?.element.querySelector(choose ? ".choose" : "button, a") ?? heading).focus();
    move(places);
    basis.textContent = BASES[answer.based_on] ?? `Based on ${answer.based_on}.`;
    more.hidden = answer.items.length < wanted.k || wanted.k >= MOST;
    by.textContent = `Answered by ${answer.model}`;
    say(rows.length ? `${count(rows.length)} recommendations; the first is ${rows[0].name}. ${basis.textContent}` : "Nothing is left to recommend.");
    unfold();
  }

  /** Rows glide from where they were, and new ones appear, where motion is welcome. */
  function move(places) {
    if (!places.size || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const row of rows) {
      const before = places.get(row.item);
      const from = before === undefined ? { opacity: 0 } : { transform: `translateY(${before - row.element.getBoundingClientRect().top}px)` };
      row.element.animate([from, {}], { duration: 220, easing: "cubic-bezier(.2, .7, .2, 1)" });
    }
  }

  function makeRow(item, explained) {
    const name = nameOf(item);
    const panel = h("div", { class: "why", id: newId("why"), hidden: true });
    const shown = [h("span", { class: "rank" }, String(item.rank)), h("span", { class: "title" }, explained ? name : itemLink(item))];
    const head = explained
      ? h(
          "button",
          {
            type: "button",
            class: "head",
            "aria-expanded": "false",
            "aria-controls": panel.id,
            onclick: () => change({ why: why === item.item ? null : item.item }),
          },
          ...shown,
          h("span", { class: "score" }, figure(item.score)),
        )
      : h("div", { class: "head" }, ...shown, h("span", { class: "score" }, h("data", { value: item.score }, count(item.score)), h("small", {}, " times")));
    const take = choose && h("button", { type: "button", class: "choose", "aria-label": `Choose ${name}`, onclick: () => choose(item.item) }, "Choose");
    return { item: item.item, name, head, panel, explained, element: h("li", {}, h("div", { class: "row" }, head, take), panel) };
  }

  /** Open the row that the address names, and close the others. */
  function unfold() {
    for (const row of rows) {
      const open = row.explained && row.item === why;
      if (row.explained) row.head.setAttribute("aria-expanded", String(open));
      if (open && row.panel.hidden) row.panel.replaceChildren(explanation({ user: wanted.user, history: wanted.history, item: row.item }, signal));
      row.panel.hidden = !open;
    }
  }

  return {
    element,
    again: load,
    /** who: { user } or { history }; query: of the address. */
    show(who, query) {
      const k = Math.min(MOST, Math.max(1, Math.trunc(Number(query.k)) || STEP));
      const next = { ...who, k };
      why = query.why ?? null;
      if (JSON.stringify(next) === JSON.stringify(wanted)) unfold();
      else {
        wanted = next;
        load();
      }
    },
  };
}
