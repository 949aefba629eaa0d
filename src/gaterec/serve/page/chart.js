// A small line chart in SVG: one value per epoch, the kept epoch marked.

import { h, svg } from "./dom.js";
import { decimal, figure } from "./figures.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [340, 190, 44, 12, 12, 26];

/** values: one per epoch, null where there is none; best: the epoch that was kept, from 1. */
export function chart(name, values, best) {
  const known = values.flatMap((value, place) => (value === null ? [] : [[place + 1, value]]));
  const marks = ticks(Math.min(...known.map(([, value]) => value)), Math.max(...known.map(([, value]) => value)), 4);
  const [low, high] = [marks[0], marks.at(-1)];
  const x = (epoch) => LEFT + ((epoch - 1) / Math.max(1, values.length - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const digits = Math.max(0, -Math.floor(Math.log10(marks[1] - marks[0]) + 1e-9));
  const kept = values[best - 1] ?? null;
  const path = values.map((value, place) => (value === null ? "" : `${values[place - 1] == null ? "M" : "L"}${x(place + 1)} ${y(value)}`)).join("");
  const epochs = ticks(1, values.length, 5).filter((epoch) => epoch >= 1 && epoch <= values.length && Number.isInteger(epoch));
  const told = `${name}: ${decimal(known[0][1], 4)} after epoch ${known[0][0]}, ${decimal(known.at(-1)[1], 4)} after epoch ${known.at(-1)[0]}`;
  return h(
    "figure",
    { class: "chart" },
    h("figcaption", {}, name, kept !== null && h("small", {}, " ", figure(kept, 4), ` at epoch ${best}`)),
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": kept === null ? `${told}.` : `${told}; ${decimal(kept, 4)} after epoch ${best}, which was kept.` },
      ...marks.flatMap((mark) => [
        svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(mark), y2: y(mark) }),
        svg("text", { x: LEFT - 8, y: y(mark) + 4, "text-anchor": "end" }, decimal(mark, digits)),
      ]),
      ...epochs.map((epoch) => svg("text", { x: x(epoch), y: HEIGHT - 6, "text-anchor": "middle" }, String(epoch))),
      svg("path", { class: "line", d: path }),
      ...(kept === null
        ? []
        : [
            svg("line", { class: "kept", x1: x(best), x2: x(best), y1: TOP, y2: HEIGHT - BOTTOM }),
            svg("circle", { class: "kept", cx: x(best), cy: y(kept), r: 4.5 }),
          ]),
    ),
  );
}

/** Round numbers that span low to high, about `wanted` steps. */
function ticks(low, high, wanted) {
  const rough = (high - low || Math.abs(high) || 1) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, number) => Number(((first + number) * step).toPrecision(12)));
}
