// The gates as a heat map: how far each event is let in, and how far each of its features. Each number can be read by pointer and by arrow keys.

import { h } from "./dom.js";
import { decimal, figure } from "./figures.js";
import { nameOf } from "./items.js";

/** events: the latest last; features: (events, features) or null. Null where the model has no gates. */
export function gates(events, features, signal) {
  if (events.every((event) => event.instance_gate === null) && !features) return null;
  const shown = events.map((event, place) => ({ name: nameOf(event), gate: event.instance_gate, row: features?.[place] })).reverse();
  const grid = h(
    "div",
    { class: "gates", style: { "grid-template-rows": `auto repeat(${shown.length}, var(--row))` } },
    h("span", { class: "column", "aria-hidden": "true" }),
    h("span", { class: "column", "aria-hidden": "true" }, "event"),
    h("span", { class: "column", "aria-hidden": "true" }, features ? "features" : ""),
    ...shown.flatMap(({ name, gate }) => [h("span", { class: "event", title: name }, name), instance(gate)]),
    features && featureMap(shown, signal),
  );
  return h("section", { class: "gating" }, h("h3", {}, "The gates"), explained(features), grid, numbers(shown));
}

function explained(features) {
  const text = "A gate is open at 1 and shut at 0. The event’s gate says how much of it counts among the others";
  return h("p", { class: "note" }, features ? `${text}; its feature gates, how much of each feature comes through.` : `${text}.`);
}

function instance(gate) {
  if (gate === null) return h("span", { class: "instance" });
  return h("span", { class: "instance" }, h("i", { class: "shade", style: { opacity: gate } }), figure(gate, 2));
}

function featureMap(shown, signal) {
  const rows = shown.map(({ row }) => row);
  const [height, width] = [rows.length, rows[0].length];
  const all = rows.flat();
  const [low, high] = [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))];
  const canvas = h("canvas", {
    width,
    height,
    tabindex: 0,
    role: "img",
    "aria-label": `Feature gates of ${height} events by ${width} features, between ${decimal(low, 2)} and ${decimal(high, 2)}. Arrow keys read single gates.`,
    onpointermove: (event) => {
      const box = canvas.getBoundingClientRect();
      point(((event.clientY - box.top) / box.height) * height, ((event.clientX - box.left) / box.width) * width);
    },
    onpointerleave: () => (cursor.hidden = true),
    onkeydown: (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      point(at[0] + step[0], at[1] + step[1]);
    },
  });
  const cursor = h("i", { class: "cursor", hidden: true });
  const read = h("output", { "aria-live": "polite" });
  const whole = h("input", { type: "checkbox", onchange: draw });
  const ends = [h("span", {}), h("span", {})];
  let at = [0, -1];

  /** One pixel per gate; the style sheet makes them large. */
  function draw() {
    const [from, to] = whole.checked || low === high ? [0, 1] : [low, high];
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
    for (const [y, row] of rows.entries()) {
      for (const [x, gate] of row.entries()) {
        context.globalAlpha = (gate - from) / (to - from);
        context.fillRect(x, y, 1, 1);
      }
    }
    ends[0].textContent = decimal(from, 2);
    ends[1].textContent = decimal(to, 2);
  }

  function point(y, x) {
    at = [Math.min(height - 1, Math.max(0, Math.floor(y))), Math.min(width - 1, Math.max(0, Math.floor(x)))];
    cursor.hidden = false;
    for (const [side, share] of [["left", at[1] / width], ["top", at[0] / height], ["width", 1 / width], ["height", 1 / height]]) {
      cursor.style.setProperty(side, `${100 * share}%`);
    }
    read.textContent = `${shown[at[0]].name}, feature ${at[1] + 1}: ${decimal(rows[at[0]][at[1]])}`;
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw, { signal });
  return [
    h("div", { class: "map", style: { "grid-row": `2 / span ${height}` } }, canvas, cursor),
    h("div", { class: "ramp" }, ends[0], h("i", {}), ends[1], h("label", {}, whole, "from 0 to 1"), read),
  ];
}

function numbers(shown) {
  const columns = ["Event", "Its gate", "Features: lowest", "mean", "highest"];
  const rows = shown.map(({ name, gate, row }) => {
    const mean = row && row.reduce((a, b) => a + b, 0) / row.length;
    const cells = [gate, ...(row ? [Math.min(...row), mean, Math.max(...row)] : [])];
    return h("tr", {}, h("th", { scope: "row" }, name), ...cells.map((value) => h("td", {}, value === null ? "–" : figure(value))));
  });
  const used = shown[0].row ? columns : columns.slice(0, 2);
  return h(
    "details",
    {},
    h("summary", {}, "The gates as numbers"),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "The gates as numbers" },
      h("table", { class: "numbers" }, h("thead", {}, h("tr", {}, ...used.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, ...rows)),
    ),
  );
}
