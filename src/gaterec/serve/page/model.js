// The run that answers: how good it is, how it was trained and judged, and how its server does.

import { ask } from "./api.js";
import { chart } from "./chart.js";
import { h } from "./dom.js";
import { count, figure, metric } from "./figures.js";
import { attempt } from "./live.js";

export const model = {
  steps: 1,
  make(path, signal) {
    const heading = h("h1", { tabindex: -1 }, "Model");
    const content = h("div", { class: "model" });
    attempt(async () => {
      const [found, version, state] = await Promise.all([
        ask("/model", { signal }),
        ask("/version", { signal }),
        ask("/ready", { signal }).catch((error) => ({ status: error.message })),
      ]);
      heading.textContent = found.title;
      content.replaceChildren(...told(found, version, state));
    });
    return { title: "Model", element: [heading, content] };
  },
};

function told(found, version, state) {
  return [
    tiles([
      ["users", count(found.users)],
      ["items", count(found.items)],
      ["events", typeof found.data.events === "number" ? count(found.data.events) : "–"],
      ["epoch kept", count(found.best_epoch)],
    ]),
    part("How good it is", h("p", { class: "note" }, "On the test part, beside what needs no model."), figures(found)),
    found.curves.length && found.curves[0].values.length > 1
      ? part("Training", h("div", { class: "charts" }, ...drawable(found).map(({ name, values }) => chart(label(name), values, found.best_epoch))), epochs(found))
      : null,
    part("How it was measured", h("ul", {}, ...found.protocol.map((line) => h("li", {}, line)))),
    part("Data", pairs(found.data)),
    part("Settings", h("details", {}, h("summary", {}, `All ${count(Object.keys(found.settings).length)} settings`), pairs(found.settings))),
    part(
      "The server",
      pairs({ state: state.status, run: found.model, loaded: new Date(1000 * version.loaded).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }), gaterec: version.gaterec }),
      h("p", {}, h("a", { href: "/docs" }, "The API, to try out"), " · ", h("a", { href: "/openapi.json" }, "OpenAPI document")),
    ),
  ].filter(Boolean);
}

const label = (name) => metric(name.replace(/^validation /, ""));
const drawable = ({ curves }) => curves.filter(({ values }) => values.some((value) => value !== null));
const part = (heading, ...content) => h("section", {}, h("h2", {}, heading), ...content);
const tiles = (facts) => h("dl", { class: "tiles" }, ...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

function figures({ figures: rows }) {
  const columns = [...new Set(Object.values(rows).flatMap(Object.keys))];
  const body = Object.entries(rows).map(([name, row], place) =>
    h(
      "tr",
      { class: place === 0 ? "own" : null },
      h("th", { scope: "row" }, name),
      ...columns.map((column) => h("td", {}, row[column] === undefined ? "–" : figure(row[column], 4))),
    ),
  );
  return table("How good it is", ["", ...columns.map(metric)], body);
}

/** The numbers behind the curves. */
function epochs(found) {
  const curves = drawable(found);
  const body = curves[0].values.map((_, place) =>
    h(
      "tr",
      { class: place + 1 === found.best_epoch ? "own" : null },
      h("th", { scope: "row" }, place + 1 === found.best_epoch ? `${place + 1} (kept)` : String(place + 1)),
      ...curves.map(({ values }) => h("td", {}, values[place] === null ? "–" : figure(values[place], 4))),
    ),
  );
  return h("details", {}, h("summary", {}, "The numbers of all epochs"), table("All epochs", ["Epoch", ...curves.map(({ name }) => label(name))], body));
}

function table(name, columns, body) {
  const head = h("thead", {}, h("tr", {}, ...columns.map((column) => (column ? h("th", { scope: "col" }, column) : h("td", {})))));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name }, h("table", { class: "numbers" }, head, h("tbody", {}, ...body)));
}

function pairs(values) {
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  return h("dl", { class: "facts" }, ...Object.entries(values).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, text(value))]));
}
