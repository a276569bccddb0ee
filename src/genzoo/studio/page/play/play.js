// @ts-check
/** Play with a run: a panel for each thing that it can do. */
import { get } from "../api.js";
import { el } from "../dom.js";
import { to } from "../router.js";
import { of } from "./work.js";

export const title = "Play";

/**
 * What a run offers.
 * @typedef {object} About
 * @property {string} name
 * @property {string} system
 * @property {string} kind
 * @property {string} thing
 * @property {number[]} shape
 * @property {number[] | null} size Height and width of the images that it takes; none where it takes any.
 * @property {number | null} rate
 * @property {number} scale
 * @property {number | null} step
 * @property {Record<string, boolean>} panels
 * @property {boolean} moves
 * @property {number} directions
 * @property {boolean} encodes
 * @property {boolean} projects
 * @property {boolean} compresses
 * @property {number} layers
 * @property {{name: string, channels: number}[]} maps
 * @property {string[]} labels
 * @property {string[]} words
 * @property {boolean} scales_noise
 * @property {Record<string, import("./options.js").Option[]>} options
 * @property {boolean} sequential
 */

/**
 * A panel fills an element; it may return what is done when another one is shown.
 * @typedef {(box: HTMLElement, about: About, signal: AbortSignal) => void | (() => void)} Panel
 */

/** @type {[string, string, () => Promise<{panel: Panel}>][]} */
const PANELS = [
  ["density", "Density", () => import("./density.js")],
  ["explore", "Explore", () => import("./explore.js")],
  ["sample", "Sample", () => import("./sample.js")],
  ["picture", "Your picture", () => import("./picture.js")],
  ["complete", "Complete", () => import("./complete.js")],
  ["translate", "Translate", () => import("./translate.js")],
  ["animate", "Animate", () => import("./animate.js")],
  ["bits", "Bits", () => import("./bits.js")],
];

/** @type {import("../router.js").Page} */
export async function page(main, words, { signal, query }) {
  if (!words[0]) return choose(main, signal);
  const loading = el("p", { class: "quiet", role: "status" }, `Opening ${words[0]} …`);
  main.append(loading);
  /** @type {About} */
  const about = await get(of(words[0]), signal);
  loading.remove();
  const facts = [about.system, about.shape.join(" × "), about.step ? `${about.step.toLocaleString("en")} ${about.step === 1 ? "step" : "steps"}` : ""].filter(Boolean).join(" · ");
  main.append(el("div", { class: "heading" }, el("h1", {}, about.name), el("p", { class: "quiet" }, facts)));
  const there = PANELS.filter(([name]) => about.panels[name]);
  if (!there.length) {
    main.append(el("p", {}, "There is nothing to play with in this run: it can only be trained."));
    return;
  }
  return tabs(main, about, there, query.get("panel") ?? there[0][0], signal);
}

/**
 * @param {HTMLElement} main
 * @param {About} about
 * @param {typeof PANELS} there
 * @param {string} first
 * @param {AbortSignal} signal
 */
function tabs(main, about, there, first, signal) {
  const list = el("div", { class: "tabs", role: "tablist", "aria-label": "What to do" });
  const body = el("section", { role: "tabpanel", id: "play-panel", tabIndex: -1 });
  /** @type {AbortController | undefined} */
  let shown;
  /** @type {void | (() => void)} */
  let leave;
  const buttons = there.map(([name, label, load]) => {
    const button = el("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "play-panel" }, label);
    button.addEventListener("click", () => open(name, load, button));
    return button;
  });
  /** @param {string} name @param {(typeof PANELS)[0][2]} load @param {HTMLElement} button */
  async function open(name, load, button) {
    shown?.abort();
    leave?.();
    leave = undefined;
    const mine = (shown = new AbortController());
    for (const other of buttons) {
      other.setAttribute("aria-selected", String(other === button));
      other.tabIndex = other === button ? 0 : -1;
    }
    body.setAttribute("aria-labelledby", button.id);
    body.replaceChildren();
    history.replaceState(null, "", `${to("play", about.name)}?panel=${name}`);
    const { panel } = await load();
    if (!mine.signal.aborted) leave = panel(body, about, mine.signal);
  }
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const next = buttons[(at + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
  list.append(...buttons);
  main.append(list, body);
  const at = Math.max(0, there.findIndex(([name]) => name === first));
  open(there[at][0], there[at][2], buttons[at]);
  const end = () => {
    shown?.abort();
    leave?.();
  };
  signal.addEventListener("abort", end);
  return end;
}

/** @param {HTMLElement} main @param {AbortSignal} signal */
async function choose(main, signal) {
  /** @type {string[]} */
  const runs = await get("/api/play/runs", signal);
  main.append(el("h1", {}, "Play"), el("p", {}, runs.length ? "Choose a run to play with." : "There are no runs in this folder yet: train one first."));
  main.append(el("ul", { class: "choose" }, ...runs.map((name) => el("li", {}, el("a", { href: to("play", name) }, name)))));
}
