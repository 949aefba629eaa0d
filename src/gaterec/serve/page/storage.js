// What this tab remembers. Where the browser forbids it, until the page is loaded again.

const memory = new Map();

export function recall(key) {
  try {
    return sessionStorage.getItem(key) ?? memory.get(key) ?? null;
  } catch {
    return memory.get(key) ?? null;
  }
}

/** Remember a text; null forgets it. */
export function remember(key, text) {
  if (text === null) memory.delete(key);
  else memory.set(key, text);
  try {
    if (text === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, text);
  } catch {
    // memory has it
  }
}
