// The played person: the items that it chose, which stand in the address while it is shown, and are remembered for the way back.

import { link } from "./router.js";
import { recall, remember } from "./storage.js";

const PLAYED = "gaterec played";

const played = () => JSON.parse(recall(PLAYED) ?? "[]");

export const keepPlayed = (items) => remember(PLAYED, JSON.stringify(items));

/** Where the played person is shown. */
export const asPlayed = () => link(["play", ...played()]);

/** The same with one more item, the latest. */
export const extended = (item) => link(["play", ...played().filter((other) => other !== item), item]);
