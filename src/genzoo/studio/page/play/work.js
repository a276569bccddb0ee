// @ts-check
/** Work that takes its time, shown where it was asked for: place in the queue, progress, an end to it. */
import { follow, get, inWords, send } from "../api.js";
import { el, say } from "../dom.js";

/**
 * What the server tells of a result.
 * @typedef {object} Found
 * @property {string} id
 * @property {string} command The command that makes its first file again.
 * @property {{name: string, command: string}[]} files
 * @property {string[]} needs Files that the command reads.
 * @property {Shown[]} shown
 * @property {string} [said]
 * @property {string} [given]
 * @property {string} [at]
 * @property {string[]} [way]
 * @property {number} [more]
 * @property {number[][] | null} [values]
 * @property {number} [most]
 * @property {number[]} [box]
 * @property {[number, number][]} [points]
 * @property {number | null} [step]
 * @property {number[]} [shares]
 * @property {number} [draws]
 */

/**
 * One thing to show: an image, a film, or a sound with its picture.
 * @typedef {{image?: string, smooth?: boolean, frames?: string[], turns?: boolean, sound?: string, seconds?: number}} Shown
 */

/**
 * Ask for something that is a job, show how far it is, and return what it has found.
 * @param {HTMLElement} place Where progress is shown; emptied before and after.
 * @param {string} path
 * @param {object} body
 * @param {AbortSignal} signal Ends it when the page is left.
 * @returns {Promise<Found>}
 */
export async function work(place, path, body, signal) {
  const mine = new AbortController();
  const stop = () => mine.abort();
  signal.addEventListener("abort", stop);
  const bar = el("progress", { "aria-label": "Progress" });
  const words = el("span", { class: "quiet", role: "status" }, "asking");
  place.replaceChildren(el("div", { class: "working" }, bar, el("div", { class: "row" }, words, el("button", { type: "button", class: "small", onclick: stop }, "Cancel"))));
  try {
    const job = await send(path, body, { signal: mine.signal });
    const done = await follow(
      job,
      (now) => {
        words.textContent = inWords(now);
        if (now.total && now.state === "running") Object.assign(bar, { max: now.total, value: Math.min(now.done, now.total) });
        else bar.removeAttribute("value");
      },
      mine.signal,
    );
    return await get(`/api/play/jobs/${encodeURIComponent(done.id)}`, mine.signal);
  } finally {
    signal.removeEventListener("abort", stop);
    place.replaceChildren();
  }
}

/**
 * Do something while its button is at rest; a mistake is said.
 * @param {HTMLButtonElement} button
 * @param {() => Promise<void>} act
 */
export async function busy(button, act) {
  if (button.disabled) return;
  button.disabled = true;
  try {
    await act();
  } catch (error) {
    say(error);
  } finally {
    button.disabled = false;
  }
}

/**
 * Make a call that is repeated as often as it is asked for, but never twice at once: while one runs, only the newest wish is kept.
 * @template T
 * @param {(wish: T) => Promise<void>} act
 * @returns {(wish: T) => void}
 */
export function newest(act) {
  /** @type {{wish: T} | undefined} */
  let next;
  let running = false;
  const go = async () => {
    running = true;
    while (next) {
      const { wish } = next;
      next = undefined;
      try {
        await act(wish);
      } catch (error) {
        say(error);
      }
    }
    running = false;
  };
  return (wish) => {
    next = { wish };
    if (!running) go();
  };
}

/**
 * The address below which a run's play is asked for.
 * @param {string} name
 */
export const of = (name) => `/api/play/of/${encodeURIComponent(name)}`;
