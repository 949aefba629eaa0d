// Numbers as people read them; their exact value stands in the element.

import { h } from "./dom.js";

/** 77349 -> 77,349 */
export const count = (value) => value.toLocaleString("en");

/** -0.17629 -> −0.176 */
export function decimal(value, digits = 3) {
  const text = value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return /^-[0.,]*$/.test(text) ? text.slice(1) : text.replace("-", "\u2212");
}

/** A number as an element. */
export const figure = (value, digits) => h("data", { value }, decimal(value, digits));

/** recall@10 -> Recall@10, ndcg@10 -> NDCG@10 */
export const metric = (name) => name.replace(/\b(ndcg|mrr|map|auc|gauc)\b/g, (word) => word.toUpperCase()).replace(/^./, (letter) => letter.toUpperCase());

/** "1 event", "2 events" */
export const several = (value, word) => `${count(value)} ${word}${value === 1 ? "" : "s"}`;
