// What is said aloud and what went wrong: the page's two live regions, and the form that asks for the token.

import { hasToken, keepToken, Problem } from "./api.js";
import { h } from "./dom.js";

const status = document.getElementById("status");
const problem = document.getElementById("problem");
const forget = document.getElementById("forget");

let restart = () => {};
let clock = 0;
let wrongSince = 0;

/** What makes the present view anew. */
export function onRestart(act) {
  restart = act;
}

/** Say something to those who don't see the page. */
export function say(sentence) {
  status.textContent = sentence;
}

export function clearProblem() {
  problem.replaceChildren();
  forget.hidden = !hasToken();
}

/** Do something that may fail; what went wrong is shown, what was broken off is not. */
export async function attempt(work, { again = restart } = {}) {
  const begun = ++clock;
  try {
    const result = await work();
    if (begun > wrongSince) clearProblem(); // what went wrong meanwhile is still wrong
    return result;
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    if (!(error instanceof Problem)) throw error;
    wrongSince = clock;
    if (error.status === 401) askForToken();
    else
      problem.replaceChildren(
        h("p", { class: "notice" }, error.message, again && h("button", { type: "button", onclick: () => again() }, "Try again")),
      );
    return undefined;
  }
}

function askForToken() {
  const field = h("input", { type: "password", name: "token", autocomplete: "current-password", required: true, "aria-describedby": "token-note" });
  const refused = hasToken();
  const form = h(
    "form",
    { class: "notice token", onsubmit: submitted },
    h("label", {}, refused ? "The server did not take this token. Another one:" : "This server asks for its token:", field),
    h("button", { class: "chief" }, "Go on"),
    h("small", { id: "token-note" }, "Whoever started the server knows it. This tab keeps it until it is closed, or until you forget it."),
  );
  problem.replaceChildren(form);
  field.focus();

  function submitted(event) {
    event.preventDefault();
    field.setCustomValidity(/^[\x21-\x7e]+$/.test(field.value.trim()) ? "" : "A token has no spaces, and letters, digits and signs of ASCII alone.");
    if (!form.reportValidity()) return;
    keepToken(field.value.trim());
    clearProblem();
    restart();
  }
  field.addEventListener("input", () => field.setCustomValidity(""));
}

forget.addEventListener("click", () => {
  keepToken(null);
  clearProblem();
  restart();
});
