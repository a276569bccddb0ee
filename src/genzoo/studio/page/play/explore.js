// @ts-check
/** Latent space: seeds, principal directions, and what is made of pinned places. */
import { send } from "../api.js";
import { el, say } from "../dom.js";
import { combine } from "./combine.js";
import { fields, seedField } from "./options.js";
import { mixed, Pins } from "./pins.js";
import { kept, thing } from "./show.js";
import { newest, of, work } from "./work.js";

const FIRST = 6;
const REACH = 3;

/** @typedef {import("./work.js").Found} Found */

/** @type {import("./play.js").Panel} */
export function panel(box, about, signal) {
  const view = el("div", { class: "stage" }, el("p", { class: "quiet" }, "…"));
  const told = el("div", {});
  const moves = new Array(about.directions).fill(0);
  let start = "";
  /** @type {Found | undefined} */
  let last;

  const show = newest(async (/** @type {string} */ at) => {
    const found = await send(`${of(about.name)}/decode`, { at }, { signal });
    last = found;
    const there = view.querySelector("img");
    if (there && found.shown[0].image) there.src = found.shown[0].image;
    else view.replaceChildren(thing(found.shown[0], `${about.thing} at this place`));
    told.replaceChildren(kept(found));
    view.dataset.at = at;
  });
  const go = () => show(moved(start || here(), moves));

  const seed = seedField(() => {
    start = "";
    from.textContent = "";
    go();
  });
  const own = fields(about.options.sample_prior ?? [], { labels: about.labels, words: about.words, changed: () => go() });
  const noise = about.scales_noise ? fields((about.options.sample ?? []).filter((o) => o.name === "temperature"), { changed: () => go() }) : null;
  const from = el("p", { class: "quiet", role: "status" });
  const here = () => {
    const given = Object.entries(own.values()).map(([k, v]) => `${k}=${v}`);
    const options = given.length ? `[${given.join(", ").replaceAll(/[[\]]/g, " ")}]` : "";
    const factor = noise?.values().temperature;
    return `${factor === undefined ? "" : `${factor}*`}s${seed.value}${options}`;
  };

  const sliders = directionSliders(about, moves, go);
  const pins = new Pins(about, (at) => {
    start = at;
    moves.fill(0);
    sliders.tell();
    from.textContent = "Starting from a pinned place. Change the seed to leave it.";
    go();
  });
  const pin = el("button", { type: "button", class: "main" }, "Pin this");
  pin.addEventListener("click", () => last && pins.add(view.dataset.at ?? "", last.shown[0]));

  box.append(
    el(
      "div",
      { class: "split explore" },
      el("div", { class: "panel controls" }, seed.node, own.node, noise?.node, from, about.moves ? sliders.node : null),
      el("div", { class: "result" }, view, el("div", { class: "row" }, pin, el("span", { class: "quiet" }, "Pinned places can be walked between, added and mixed.")), told),
    ),
    el("h2", {}, "Pinned"),
    pins.node,
    combine(about, pins, signal, (at, shown) => pins.add(at, shown)),
  );
  go();
  if (about.moves) sliders.find(signal);
}

/**
 * Add moves along directions to a place; of a mix to both of its parts.
 * @param {string} at
 * @param {number[]} moves
 */
function moved(at, moves) {
  const words = moves.map((m, i) => (m ? ` ${m < 0 ? "-" : "+"} ${Math.abs(m)}d${i + 1}` : "")).join("");
  if (!words) return at;
  const parts = mixed(at);
  return parts.length === 3 ? `${parts[0]}${words}/${parts[1]}/${parts[2]}${words}` : at + words;
}

/**
 * Sliders for the directions that change images most.
 * @param {import("./play.js").About} about
 * @param {number[]} moves
 * @param {() => void} go
 */
function directionSliders(about, moves, go) {
  const shares = moves.map(() => el("small", { class: "quiet" }));
  const inputs = moves.map((_, i) => {
    const input = el("input", { type: "range", id: `move-${i}`, min: String(-REACH), max: String(REACH), step: "0.1", value: "0" });
    input.addEventListener("input", () => {
      moves[i] = Number(input.value);
      outputs[i].textContent = signed(moves[i]);
      go();
    });
    return input;
  });
  const outputs = moves.map((_, i) => el("output", { for: `move-${i}`, class: "number" }, signed(0)));
  const rows = moves.map((_, i) => el("div", { class: "move" }, el("label", { for: `move-${i}` }, `${i + 1}`, shares[i]), inputs[i], outputs[i]));
  const tell = () => inputs.forEach((input, i) => ((input.value = String(moves[i])), (outputs[i].textContent = signed(moves[i]))));
  const reset = el("button", { type: "button", class: "small" }, "Back to the middle");
  reset.addEventListener("click", () => {
    moves.fill(0);
    tell();
    go();
  });
  const progress = el("div", {});
  const how = el("p", { class: "quiet" }, "Principal components of images drawn from the prior, and for each the latent direction that goes with it (GANSpace). The unit is one standard deviation of the prior.");
  const more = rows.slice(FIRST);
  const node = el(
    "fieldset",
    {},
    el("legend", {}, "Principal directions"),
    progress,
    ...rows.slice(0, FIRST),
    more.length ? el("details", {}, el("summary", {}, `${more.length} more`), ...more) : null,
    el("div", { class: "row" }, reset),
    el("details", {}, el("summary", {}, "How they are found"), how),
  );
  /** @param {AbortSignal} signal */
  const find = async (signal) => {
    try {
      const found = await work(progress, `${of(about.name)}/directions`, {}, signal);
      const known = found.shares ?? [];
      rows.forEach((row, i) => (row.hidden = i >= known.length));
      known.forEach((share, i) => (shares[i].textContent = `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`));
      how.append(` Percentages are shares of the variance of ${found.draws} images.`);
    } catch (error) {
      if (!signal.aborted) rows.forEach((row) => (row.hidden = true));
      say(error);
    }
  };
  return { node, tell, find };
}

/** @param {number} value */
const signed = (value) => `${value < 0 ? "−" : value > 0 ? "+" : ""}${Math.abs(value).toFixed(1)}`;
