// People of the log: choose one, see what they chose and what they are recommended, and add an event that is kept.

import { ask } from "./api.js";
import { combobox } from "./combobox.js";
import { h } from "./dom.js";
import { count, several } from "./figures.js";
import { itemField, itemLink } from "./items.js";
import { attempt, say } from "./live.js";
import { recommendations } from "./recommendations.js";
import { go, link } from "./router.js";

const SHOWN = 12;

const choose = (person) => go(link(["person", person]));

/** A field for a person's id, and a button for anybody. */
export function personField(signal) {
  const random = h("button", { type: "button", onclick: anybody }, "Somebody at random");

  function anybody() {
    attempt(async () => {
      const { users } = await ask("/users", { query: { limit: 100 }, signal });
      if (users.length) choose(users[Math.floor(Math.random() * users.length)]);
    });
  }

  const field = combobox({
    label: "Choose a person",
    placeholder: "Beginning of an id",
    find: async (q, mine) => (await ask("/users", { query: { q, limit: 12 }, signal: mine })).users.map((id) => ({ value: id, label: id })),
    choose,
    signal,
    free: true,
  });
  return [field, random];
}

export const person = {
  steps: 2,
  make([, user], signal) {
    return user === undefined ? nobody(signal) : somebody(user, signal);
  },
};

function nobody(signal) {
  const total = h("p", { class: "lead" }, "Choose somebody of the log.");
  attempt(async () => {
    const found = await ask("/users", { query: { limit: 1 }, signal });
    total.textContent = `The run knows ${found.total === 1 ? "1 person" : `${count(found.total)} people`}. Choose one of them, or type any other id.`;
  });
  return { title: "People", element: [h("h1", { tabindex: -1 }, "People"), total, h("div", { class: "narrow panel" }, ...personField(signal))] };
}

function somebody(user, signal) {
  const list = recommendations({ signal });
  const basis = h("p", { class: "lead" });
  const events = h("ol", { class: "plain history", reversed: true });
  const shown = h("h2", {}, "What they chose");

  function look() {
    return attempt(async () => {
      const found = await ask(`/users/${encodeURIComponent(user)}`, { query: { limit: SHOWN }, signal });
      const newer = found.newer ? `, ${count(found.newer)} newer than the run` : "";
      basis.textContent = `${found.known ? "Known to the run" : "Not known to the run"} · ${several(found.events, "event")}${newer}`;
      shown.textContent = found.events > SHOWN ? `Their latest ${SHOWN} events` : "What they chose";
      events.replaceChildren(...found.history.reverse().map((item) => h("li", {}, itemLink(item))));
      if (!found.events) events.replaceChildren(h("li", { class: "note" }, "Nothing yet."));
    });
  }

  look();
  return {
    title: user,
    show: ({ query }) => list.show({ user }, query),
    element: [
      h("h1", { tabindex: -1 }, user),
      basis,
      h(
        "div",
        { class: "columns after" },
        list.element,
        h(
          "div",
          { class: "stack" },
          h("section", { class: "panel", "aria-labelledby": (shown.id = "history") }, shown, events),
          eventForm(user, signal, async () => {
            await look();
            list.again();
          }),
          h("section", { class: "panel" }, h("h2", {}, "Somebody else"), ...personField(signal)),
        ),
      ),
    ],
  };
}

/** One more event of a person, which the server keeps. */
function eventForm(user, signal, done) {
  let event = null;
  const button = h("button", { type: "button", class: "chief", disabled: true, onclick: keep }, "Keep this event");
  const field = itemField({
    label: "What they chose just now",
    signal,
    keep: true,
    choose: (item, name) => {
      event = { user, item, id: `page-${Date.now()}-${Math.random().toString(36).slice(2)}` }; // sent again, it counts once
      button.disabled = false;
      button.textContent = `Keep “${name}”`;
      button.focus();
    },
  });

  function keep() {
    attempt(
      async () => {
        await ask("/events", { body: event, signal });
        say(`Kept: one more event of ${user}.`);
        field.querySelector("input").value = "";
        button.textContent = "Keep this event";
        button.disabled = true;
        await done();
      },
      { again: keep },
    );
  }

  return h(
    "section",
    { class: "panel kept" },
    h("h2", {}, "Add a real event"),
    h("p", { class: "note" }, h("strong", {}, "It is kept: "), "the server stores it, and it counts in every later answer for this person."),
    field,
    button,
  );
}
