// @ts-check
/** Judge runs: measures ranked, side by side on the same seeds, real or made, nearest training images. */
import { get } from "./api.js";
import { el } from "./dom.js";
import { to } from "./router.js";
import { blindPage } from "./judge-blind.js";
import { comparePage } from "./judge-compare.js";
import { nearestPage } from "./judge-nearest.js";
import { sidePage } from "./judge-side.js";
import { style } from "./runs-shared.js";

export const title = "Judge";
/** @typedef {import("./runs-shared.js").Card} Card */
/**
 * One way of judging.
 * @typedef {(place: HTMLElement, runs: Card[], how: {signal: AbortSignal, query: URLSearchParams}) => void | (() => void)} Way
 */

/** @type {[string, string, string, Way][]} */
const WAYS = [
  ["compare", "Measures", "Which run is better, as far as chance allows to say?", comparePage],
  ["side", "Side by side", "The same seeds through two runs.", sidePage],
  ["blind", "Real or made?", "Can you tell samples from held-out images?", blindPage],
  ["nearest", "Nearest training images", "Does it make images, or remember them?", nearestPage],
];

/** @type {import("./router.js").Page} */
export async function page(main, [way], { signal, query }) {
  await Promise.all([style("runs"), style("judge")]);
  /** @type {{runs: Card[]}} */
  const told = await get("/api/runs", signal);
  const [name, , asks, show] = WAYS.find(([n]) => n === way) ?? WAYS[0];
  const kept = query.toString() ? `?${query}` : "";
  const place = el("div");
  main.append(
    el("h1", {}, "Judge"),
    el("nav", { "aria-label": "Ways to judge", class: "chips ways" }, ...WAYS.map(([n, label]) =>
      el("a", { class: "chip", href: to("judge", n) + kept, ...(n === name ? { "aria-current": "page" } : {}) }, label))),
    el("p", { class: "quiet" }, asks), place);
  const able = told.runs.filter((r) => r.state !== "damaged" && (r.step || r.state === "imported"));
  if (!able.length) {
    place.append(el("p", {}, "There is no run to judge yet. ", el("a", { href: to("train") }, "Start a training"), "."));
    return undefined;
  }
  return show(place, able, { signal, query });
}

/**
 * A choice of one run.
 * @param {string} label
 * @param {Card[]} runs
 * @param {string | null} chosen
 * @param {() => void} change
 */
export function runChoice(label, runs, chosen, change) {
  const select = el("select", { onchange: change }, ...runs.map((r) => el("option", { value: r.name, selected: r.name === chosen }, r.name)));
  return { place: el("label", { class: "field" }, el("span", { class: "name" }, label), select), select };
}

/**
 * A field of a whole number.
 * @param {string} label
 * @param {number} value
 * @param {number} min
 * @param {number} max
 */
export function count(label, value, min, max) {
  const input = el("input", { type: "number", value: String(value), min: String(min), max: String(max), required: true });
  return { place: el("label", { class: "field" }, el("span", { class: "name" }, label), input), input };
}

/** Keep what is chosen in the address, without opening the page anew. @param {string} way @param {[string, string][]} pairs */
export function remember(way, pairs) {
  history.replaceState(null, "", `${to("judge", way)}?${new URLSearchParams(pairs)}`);
}
