// The address after # says what is shown: #/person/u0001?why=i0051. So back, forward, reload and bookmarks work.

import { visible } from "./dom.js";
import { clearProblem, onRestart } from "./live.js";

/** link(["person", "u0001"], { why: "i0051" }) -> "#/person/u0001?why=i0051" */
export function link(path, query = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== null)).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${asked && `?${asked}`}`;
}

/** "#/person/u0001?why=i0051" -> { path: ["person", "u0001"], query: { why: "i0051" } }; null where it can't be read. */
export function read(hash) {
  const [path, query] = hash.replace(/^#?\/?/, "").split("?");
  try {
    return { path: path.split("/").filter(Boolean).map(decodeURIComponent), query: Object.fromEntries(new URLSearchParams(query)) };
  } catch {
    return null;
  }
}

/** Go on to an address. */
export function go(address) {
  location.hash = address;
}

/** Change the query of the present address, as another look at the same thing: back skips it. */
export function change(query) {
  const route = read(location.hash);
  history.replaceState(null, "", link(route.path, { ...route.query, ...query }));
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/**
 * Show what the address says, now and whenever it changes.
 *
 * views: the first part of the path -> { make, steps }. `make(path, signal)` gives { title, element, show(route) }; the signal is aborted when the view
 * is left. `show` is called for each address whose first `steps` parts are the same, so that what is on the screen stays there.
 */
export function start(main, views) {
  let place = null;
  let view = null;
  let life = new AbortController();

  function follow(anew) {
    const route = read(location.hash);
    const name = route === null ? "missing" : (route.path[0] ?? "start");
    const found = Object.hasOwn(views, name) ? views[name] : views.missing;
    const next = JSON.stringify([name, route?.path.slice(0, found.steps)]);
    if (next !== place || anew) {
      const first = place === null;
      place = next;
      life.abort();
      life = new AbortController();
      clearProblem();
      view = found.make(route?.path ?? [], life.signal);
      main.replaceChildren(...view.element);
      if (!first && !anew) {
        scrollTo(0, 0);
        main.querySelector("h1").focus();
      }
      for (const anchor of document.querySelectorAll("nav [data-view]")) {
        if (anchor.dataset.view === (found.under ?? name)) anchor.setAttribute("aria-current", "page");
        else anchor.removeAttribute("aria-current");
      }
    }
    document.title = `${visible(view.title)} · gaterec`;
    view.show?.(route);
  }

  addEventListener("hashchange", () => follow(false));
  onRestart(() => follow(true));
  follow(false);
}
