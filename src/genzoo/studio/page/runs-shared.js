// @ts-check
/** What the pages of runs share: their shapes, words for numbers and states, style files. */
import { duration } from "./api.js";
import { el } from "./dom.js";

/**
 * A measured value.
 * @typedef {{key: string, measure: string, value: number | null, se: number | null, unit: string | null, better: string | null, floor: number | null,
 *   n: number | null, protocol: string | null, data: string | null, split: string | null, interval: [number, number] | null}} Measured
 */
/**
 * A run in a few words.
 * @typedef {{name: string, system: string, family: string, data: string, images: boolean, abilities: string[], state: string, step: number,
 *   steps: number | null, seconds: number, left: number | null, why: string, picture: {step: number, stamp: number} | null,
 *   measures: Measured[], more: number, damage: string}} Card
 */
/** @typedef {{name: string, kind: string, better: string, points: [number, number][], all: number}} Curve */
/** @typedef {{line: string, running: boolean, printed: string[], why: string}} Command */
/**
 * A run in full.
 * @typedef {Card & {curves: Curve[], pictures: {step: number, stamp: number}[], evaluation: {name: string, stamp: number}[], health: string[],
 *   settings: {section: string, name: string, value: string, default: string | null, changed: boolean, doc: string}[],
 *   commands: Record<string, Command>, lines: Record<string, string>, folder: string}} Run
 */

/** Load a style file of a page, once. @param {string} name @returns {Promise<void>} */
export function style(name) {
  const href = `/page/${name}.css`;
  if (document.querySelector(`link[href="${href}"]`)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => resolve();
    document.head.append(el("link", { rel: "stylesheet", href, onload: done, onerror: done }));
  });
}

/** The address of a run's files. @param {string} name @param {string} [rest] */
export function at(name, rest = "") {
  return `/api/runs/${encodeURIComponent(name)}${rest}`;
}

/** The address of a sample picture. @param {string} name @param {{step: number, stamp: number}} picture */
export function pictureAt(name, picture) {
  return at(name, `/samples/${picture.step}.png?${picture.stamp}`);
}

/** Show the pixels of a picture that is enlarged, and smooth one that is made smaller. @param {HTMLImageElement} image */
export function crisp(image) {
  const look = () => image.classList.toggle("pixels", image.naturalWidth < image.clientWidth);
  image.addEventListener("load", look);
  return image;
}

/** Write a number in four digits, as the tables of the command line do. @param {number | null | undefined} value */
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

/** Write an error in two digits. @param {number | null | undefined} se */
export function spread(se) {
  return se === null || se === undefined ? "" : ` ± ${Number(se.toPrecision(2))}`;
}

/** Write value, error and unit. @param {Measured} m */
export function measured(m) {
  return `${number(m.value)}${spread(m.se)}${m.unit ? ` ${m.unit}` : ""}`;
}

/** Which way is better. @param {string | null} better */
export function arrow(better) {
  if (better === "lower") return el("span", { class: "quiet", title: "lower is better" }, " ↓", el("span", { class: "aside" }, " lower is better"));
  if (better === "higher") return el("span", { class: "quiet", title: "higher is better" }, " ↑", el("span", { class: "aside" }, " higher is better"));
  return "";
}

/** @type {Record<string, string>} */
const WORDS = {
  starting: "Starting", training: "Training", stopped: "Stopped", finished: "Finished", failed: "Failed", imported: "Imported", damaged: "Damaged",
};

/** A state as a badge. @param {string} state */
export function badge(state) {
  return el("span", { class: `run-state is-${state}` }, WORDS[state] ?? state);
}

/** Whether a run is at work. @param {{state: string}} run */
export function atWork(run) {
  return run.state === "training" || run.state === "starting";
}

/** Where a run is, in words. @param {Card} run */
export function progress(run) {
  if (run.state === "imported") return "a model that was not trained here";
  if (run.state === "starting") return "reading data, building networks …";
  if (!run.step && !run.steps) return "";
  const of = run.steps ? ` of ${run.steps.toLocaleString("en")}` : "";
  const left = run.left ? ` · about ${duration(run.left)} left` : "";
  const took = !atWork(run) && run.seconds ? ` · ${duration(run.seconds)}` : "";
  return `step ${run.step.toLocaleString("en")}${of}${left}${took}`;
}

/**
 * Ask again and again, while the page is shown and seen; a server that does not answer is waited for.
 * @template T
 * @param {() => Promise<T>} fetchIt
 * @param {(value: T) => number} show Shows it, and returns the milliseconds until it is asked for again.
 * @param {(error: Error) => void} fail
 * @param {AbortSignal} signal
 */
export async function watch(fetchIt, show, fail, signal) {
  while (!signal.aborted) {
    let pause = 3000;
    if (!document.hidden) {
      try {
        const value = await fetchIt();
        if (signal.aborted) return;
        pause = show(value);
      } catch (error) {
        if (signal.aborted) return;
        fail(error instanceof Error ? error : new Error(String(error)));
      }
    }
    await new Promise((resolve) => {
      const timer = setTimeout(over, pause);
      function over() {
        clearTimeout(timer);
        signal.removeEventListener("abort", over);
        removeEventListener("genzoo-look", over);
        document.removeEventListener("visibilitychange", over);
        resolve(undefined);
      }
      signal.addEventListener("abort", over);
      addEventListener("genzoo-look", over);
      document.addEventListener("visibilitychange", over);
    });
  }
}

/** Have what is watched be asked for now. */
export function lookNow() {
  dispatchEvent(new Event("genzoo-look"));
}

/** A line above the page that says what is wrong, and goes when it is well again. @returns {HTMLElement & {tell: (text: string) => void}} */
export function notice() {
  const made = el("p", { class: "notice", role: "status", hidden: true });
  return Object.assign(made, {
    /** @param {string} text */
    tell(text) {
      made.hidden = !text;
      if (made.textContent !== text) made.textContent = text;
    },
  });
}
