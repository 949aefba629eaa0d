// Why an item is recommended: every part of its score as a bar and as a number, and their sum.

import { ask } from "./api.js";
import { h } from "./dom.js";
import { decimal, figure } from "./figures.js";
import { gates } from "./gates.js";
import { itemLink } from "./items.js";
import { attempt } from "./live.js";
import { link } from "./router.js";

const EXACT = "exact sum";

/** The explanation of one item for one person: { user, history, item }. */
export function explanation(asked, signal) {
  const element = h("div", { class: "explanation", "aria-busy": "true" }, h("p", { class: "note" }, "Taking the score apart …"));
  attempt(async () => {
    const found = await ask("/explain", { body: asked, signal });
    element.replaceChildren(...told(found, signal).filter(Boolean));
  }).finally(() => {
    element.removeAttribute("aria-busy");
    if (!element.querySelector("table")) element.textContent = "There is no explanation; the reason stands at the top.";
  });
  return element;
}

function told(found, signal) {
  const exact = found.method === EXACT;
  const words = found.words.charAt(0).toUpperCase() + found.words.slice(1);
  return [
    h("p", { class: "words" }, `${words}.`),
    exact
      ? h(
          "p",
          { class: "legend" },
          h("span", {}, h("i", { class: "swatch gated" }), "through the gates"),
          h("span", {}, h("i", { class: "swatch direct" }), "directly, item to item"),
        )
      : h(
          "p",
          { class: "note method" },
          h("strong", {}, "Leave-one-event-out. "),
          "This model’s score is no sum of parts. Each bar says how much the score falls when that one event alone is left out; together they need not make the score.",
        ),
    parts(found, exact),
    gates(found.events, found.feature_gates, signal),
    h("p", {}, h("a", { href: link(["item", found.item.item]) }, "More about this item")),
  ];
}

function parts(found, exact) {
  const rows = found.events.map((event) => ({
    name: itemLink(event),
    bars: exact ? [["gated", event.gated], ["direct", event.direct]] : [["effect", event.total]],
    total: event.total,
    without: event.what_if,
  }));
  rows.reverse(); // the latest first
  if (exact) {
    rows.push({ name: "Lasting taste", bars: [["lasting", found.lasting]], total: found.lasting });
    rows.push({ name: "The item itself (bias)", bars: [["bias", found.bias]], total: found.bias });
  }
  const place = scale(rows.flatMap((row) => [sum(row.bars, Math.max), sum(row.bars, Math.min)]));
  const columns = exact ? ["Gated", "Direct", "Part", "Score without"] : ["Falls by", "Score without"];
  const body = rows.map((row) =>
    line(
      { class: exact ? "exact" : null },
      cell("th", "what", row.name, { scope: "row", role: "rowheader" }),
      cell("td", "bar", bar(row.bars, place), { "aria-hidden": "true" }),
      ...(exact ? ["gated", "direct"].map((kind) => cell("td", kind, valueOf(row.bars, kind))) : []),
      cell("td", "total", figure(row.total)),
      cell("td", "without", row.without == null ? "" : figure(row.without)),
    ),
  );
  const total = rows.reduce((before, row) => before + row.total, 0);
  const foot = exact
    ? line(
        { class: "exact sum" },
        cell("th", "what", "Sum of all parts", { scope: "row", role: "rowheader" }),
        cell("td", "bar", Math.abs(total - found.score) < 1e-3 ? "equals the score" : `the score is ${decimal(found.score)}`),
        cell("td", "gated", ""),
        cell("td", "direct", ""),
        cell("td", "total", figure(total)),
        cell("td", "without", ""),
      )
    : line(
        { class: "sum" },
        cell("th", "what", "The score", { scope: "row", role: "rowheader" }),
        cell("td", "bar", ""),
        cell("td", "total", figure(found.score)),
        cell("td", "without", ""),
      );
  return h(
    "table",
    { class: "parts", role: "table" },
    h("caption", { class: "unseen" }, "The parts of the score"),
    h(
      "thead",
      { role: "rowgroup" },
      line({}, ...["What", h("span", { class: "unseen" }, "As a bar"), ...columns].map((name) => h("th", { scope: "col", role: "columnheader" }, name))),
    ),
    h("tbody", { role: "rowgroup" }, ...body),
    h("tfoot", { role: "rowgroup" }, foot),
  );
}

// On a phone rows are laid out as grids; the roles say that they are rows all the same.
const line = (attributes, ...cells) => h("tr", { role: "row", ...attributes }, ...cells);
const cell = (tag, kind, content, attributes) => h(tag, { role: "cell", ...attributes, class: kind }, content);

function valueOf(bars, kind) {
  const found = bars.find(([name]) => name === kind);
  return found ? figure(found[1]) : "";
}

const sum = (bars, end) => bars.reduce((total, [, value]) => total + end(0, value), 0);

/** From values to places between 0 and 100, zero among them. */
function scale(values) {
  const low = Math.min(0, ...values);
  const width = Math.max(0, ...values) - low || 1;
  return (value) => (100 * (value - low)) / width;
}

/** Parts of one row behind one another: what speaks for the item to the right of zero, what speaks against it to the left. */
function bar(bars, place) {
  const ends = { 1: 0, [-1]: 0 };
  const pieces = bars.map(([kind, value]) => {
    const side = value < 0 ? -1 : 1;
    const [from, to] = [ends[side], ends[side] + value];
    ends[side] = to;
    const left = place(Math.min(from, to));
    return h("i", { class: `piece ${kind}`, style: { left: `${left}%`, width: `${place(Math.max(from, to)) - left}%` } });
  });
  return h("div", { class: "track" }, h("i", { class: "zero", style: { left: `${place(0)}%` } }), ...pieces);
}
