// @ts-check
/** What is made of pinned places: walks, sums, mixed styles. */
import { send } from "../api.js";
import { el } from "../dom.js";
import { mixed } from "./pins.js";
import { film, kept, thing } from "./show.js";
import { busy, of, work } from "./work.js";

/** @typedef {import("./pins.js").Pins} Pins */
/** @typedef {import("./pins.js").Pin} Pin */
/** @typedef {import("./play.js").About} About */
/** @typedef {(at: string, shown: import("./work.js").Shown) => void} Keep */

let count = 0;

/**
 * @param {About} about
 * @param {Pins} pins
 * @param {AbortSignal} signal
 * @param {Keep} keep
 */
export function combine(about, pins, signal, keep) {
  const parts = about.moves ? [walking(about, pins, signal), adding(about, pins, signal, keep)] : [];
  if (about.layers) parts.push(mixing(about, pins, signal, keep));
  return el("div", { class: "combine" }, ...parts);
}

/** @param {About} about @param {Pins} pins @param {AbortSignal} signal */
function walking(about, pins, signal) {
  const id = `steps-${++count}`;
  const steps = el("input", { id, type: "range", min: "2", max: "60", value: "16" });
  const told = el("output", { for: id, class: "number" }, "16");
  steps.addEventListener("input", () => (told.textContent = steps.value));
  const progress = el("div", {});
  const result = el("div", {});
  const button = el("button", { type: "button", class: "main" }, "Walk");
  button.addEventListener("click", () =>
    busy(button, async () => {
      const at = pins.all.map((p) => p.at).join("; ");
      const found = await work(progress, `${of(about.name)}/walk`, { at, steps: Number(steps.value) }, signal);
      const frames = found.shown.map((s) => s.image ?? s.frames?.[0] ?? "");
      result.replaceChildren(film(frames, "the walk"), kept(found));
    }),
  );
  pins.follow(() => (button.disabled = pins.all.length < 2));
  return el(
    "section",
    { class: "panel" },
    el("h3", {}, "Walk"),
    el("p", { class: "quiet" }, "From each pin to the next, in their order."),
    el("div", { class: "field" }, el("label", { for: id }, "pictures from one to the next", told), steps),
    button,
    progress,
    result,
  );
}

/**
 * A select of pins.
 * @param {Pins} pins
 * @param {string} label
 * @param {number} first Which is chosen at first.
 */
function choice(pins, label, first) {
  const select = el("select", { "aria-label": label });
  let chosen = "";
  select.addEventListener("change", () => (chosen = select.value));
  const fill = () => {
    select.replaceChildren(...pins.all.map((p) => el("option", { value: String(p.key) }, `pin ${pins.name(p)}`)));
    if (pins.all.some((p) => String(p.key) === chosen)) select.value = chosen;
    else if (pins.all.length) select.value = String(pins.all[Math.min(first, pins.all.length - 1)].key);
    select.disabled = !pins.all.length;
  };
  pins.follow(fill);
  return { node: select, pin: () => pins.all.find((p) => String(p.key) === select.value), choose: (/** @type {Pin} */ p) => (select.value = chosen = String(p.key)) };
}

/**
 * Decode one place and show it, with a button that pins it.
 * @param {About} about
 * @param {string} at
 * @param {HTMLElement} result
 * @param {AbortSignal} signal
 * @param {Keep} keep
 */
async function placed(about, at, result, signal, keep) {
  const found = await send(`${of(about.name)}/decode`, { at }, { signal });
  const pin = el("button", { type: "button", class: "small", onclick: () => keep(at, found.shown[0]) }, "Pin this");
  result.replaceChildren(el("div", { class: "stage small" }, thing(found.shown[0], "the result")), el("p", {}, pin), kept(found));
}

/** @param {About} about @param {Pins} pins @param {AbortSignal} signal @param {Keep} keep */
function adding(about, pins, signal, keep) {
  const [a, b, c] = [choice(pins, "First pin", 0), choice(pins, "Pin that is taken away", 1), choice(pins, "Pin that is added", 2)];
  const result = el("div", { class: "sum" });
  const button = el("button", { type: "button", class: "main" }, "Add up");
  button.addEventListener("click", () =>
    busy(button, async () => {
      const at = [plain(a.pin()), negative(plain(b.pin())), plain(c.pin())];
      await placed(about, `${at[0]} ${at[1]} + ${at[2]}`, result, signal, keep);
    }),
  );
  pins.follow(() => (button.disabled = pins.all.length < 2 || pins.all.some((p) => mixed(p.at).length > 1)));
  return el(
    "section",
    { class: "panel" },
    el("h3", {}, "Arithmetic"),
    el("p", { class: "quiet" }, "What the first has and the second has not, added to the third."),
    el("div", { class: "row terms" }, a.node, el("span", {}, "−"), b.node, el("span", {}, "+"), c.node),
    el("p", {}, button),
    result,
  );
}

/** @param {Pin | undefined} pin */
const plain = (pin) => (pin ? pin.at : "s0");

/**
 * Turn the signs of a sum around; what stands in brackets is left alone.
 * @param {string} at
 */
function negative(at) {
  const turned = at
    .trim()
    .split(/(\[[^\]]*\])/)
    .map((part) => (part.startsWith("[") ? part : part.replaceAll(/[+-]/g, (sign) => (sign === "+" ? "-" : "+"))))
    .join("");
  return /^[+-]/.test(turned) ? turned : `- ${turned}`;
}

/** @param {About} about @param {Pins} pins @param {AbortSignal} signal @param {Keep} keep */
function mixing(about, pins, signal, keep) {
  const [coarse, fine] = [choice(pins, "Pin of the coarse styles", 0), choice(pins, "Pin of the fine styles", 1)];
  const id = `layer-${++count}`;
  const layer = el("input", { id, type: "range", min: "1", max: String(about.layers - 1), value: String(Math.floor(about.layers / 2)) });
  const told = el("output", { for: id, class: "number" }, layer.value);
  const result = el("div", {});
  const button = el("button", { type: "button", class: "main" }, "Mix");
  const mix = () =>
    busy(button, async () => {
      const [a, b] = [coarse.pin(), fine.pin()];
      if (a && b) await placed(about, `${a.at}/${layer.value}/${b.at}`, result, signal, keep);
    });
  layer.addEventListener("input", () => (told.textContent = layer.value));
  layer.addEventListener("change", () => !button.disabled && result.childNodes.length && mix());
  button.addEventListener("click", mix);
  pins.dropped = (dragged, onto) => {
    coarse.choose(onto);
    fine.choose(dragged);
    mix().then(() => result.scrollIntoView({ block: "nearest" }));
  };
  pins.follow(() => (button.disabled = pins.all.length < 2 || pins.all.some((p) => mixed(p.at).length > 1)));
  return el(
    "section",
    { class: "panel" },
    el("h3", {}, "Mix styles"),
    el("p", { class: "quiet" }, "Drag one pin onto another: it gives its fine styles. Or choose both here."),
    el("div", { class: "row terms" }, el("span", {}, "coarse"), coarse.node, el("span", {}, "fine"), fine.node),
    el("div", { class: "field" }, el("label", { for: id }, `first fine layer, of ${about.layers}`, told), layer),
    el("p", {}, button),
    result,
  );
}
