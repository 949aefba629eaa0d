// Questions to the server. What goes wrong comes back as a Problem, with a sentence for people.

import { recall, remember } from "./storage.js";

const TOKEN = "gaterec token";

export class Problem extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

export const hasToken = () => recall(TOKEN) !== null;
export const keepToken = (token) => remember(TOKEN, token);

/** The server's answer: of GET, or of POST where there is a body. */
export async function ask(path, { query, body, signal } = {}) {
  const headers = {};
  if (hasToken()) headers.Authorization = `Bearer ${recall(TOKEN)}`;
  if (body) headers["Content-Type"] = "application/json";
  const address = query ? `${path}?${new URLSearchParams(query)}` : path;
  try {
    const answer = await fetch(address, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
    const content = await answer.json();
    if (answer.ok) return content;
    throw new Problem(sentence(answer.status, content.detail), answer.status);
  } catch (error) {
    if (error instanceof Problem || error.name === "AbortError") throw error;
    throw new Problem("The server can’t be reached, or what it says can’t be read. Is it still running?", 0);
  }
}

function sentence(status, detail) {
  const found = detail ? `: ${detail}` : "";
  if (status === 401) return "This server wants its token.";
  if (status === 503) return `The server can’t answer just now${found}.`;
  if (status >= 500) return `The server broke while it answered${found}.`;
  return `The server refused${found}.`;
}

/** Signals of which the newest alone is alive: each call aborts what was asked before. All die with `life`. */
export function newest(life) {
  let last = null;
  life.addEventListener("abort", () => last?.abort());
  return () => {
    last?.abort();
    last = new AbortController();
    return last.signal;
  };
}
