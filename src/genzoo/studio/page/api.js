// @ts-check
/** What the page asks the server: JSON, files and jobs. Every mistake arrives as an `Error` whose message is a sentence to show. */

/**
 * A job as the server shows it.
 * @typedef {object} Job
 * @property {string} id
 * @property {string} label
 * @property {"waiting" | "running" | "done" | "failed" | "cancelled"} state
 * @property {number} position How many jobs stand before it.
 * @property {number} done
 * @property {number} total
 * @property {string} note
 * @property {number} seconds
 * @property {string} [error]
 */

/** A mistake that the server answered. */
export class Mistake extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * Ask the server; the answer may be anything.
 * @param {string} path
 * @param {RequestInit} [how]
 * @returns {Promise<Response>}
 */
export async function ask(path, how = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", redirect: "error", ...how });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Mistake("The server does not answer. Is it still running?", 0);
  }
  if (response.ok) return response;
  let message = `The server answered ${response.status}.`;
  try {
    const said = await response.json();
    if (said && typeof said.error === "string") message = said.error;
  } catch {
    // no sentence came with it
  }
  throw new Mistake(message, response.status);
}

/**
 * Get JSON.
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function get(path, signal) {
  return (await ask(path, { signal })).json();
}

/**
 * Send JSON or a form, and get JSON.
 * @param {string} path
 * @param {object | FormData} [body]
 * @param {{method?: string, signal?: AbortSignal}} [how]
 * @returns {Promise<any>}
 */
export async function send(path, body = {}, { method = "POST", signal } = {}) {
  return (await ask(path, sending(body, method, signal))).json();
}

/**
 * Send JSON or a form, and get a file: a picture, an array, a sound.
 * @param {string} path
 * @param {object | FormData} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<Blob>}
 */
export async function file(path, body, signal) {
  return (await ask(path, body === undefined ? { signal } : sending(body, "POST", signal))).blob();
}

/** @param {object | FormData} body @param {string} method @param {AbortSignal} [signal] @returns {RequestInit} */
function sending(body, method, signal) {
  if (body instanceof FormData) return { method, body, signal };
  return { method, body: JSON.stringify(body), headers: { "content-type": "application/json" }, signal };
}

/** @param {number} milliseconds @param {AbortSignal} [signal] */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    });
  });
}

/** Jobs that this page waits for. @type {Set<string>} */
const followed = new Set();

// A tab that is closed, or left, cancels what it waits for.
addEventListener("pagehide", () => {
  for (const id of followed) fetch(`/api/jobs/${encodeURIComponent(id)}`, { method: "DELETE", keepalive: true });
});

/**
 * Wait for a job, and show what it has done. A job that is waited for no more is cancelled, here at once, by the server after a while.
 * @param {Job} job As the server answered it.
 * @param {(job: Job) => void} [show] Called whenever it changes.
 * @param {AbortSignal} [signal] Cancels it.
 * @returns {Promise<Job>} It, done.
 */
export async function follow(job, show = () => {}, signal) {
  let every = 60;
  followed.add(job.id);
  try {
    while (job.state === "waiting" || job.state === "running") {
      show(job);
      await pause(every, signal);
      every = Math.min(every * 1.3, 1000);
      job = await get(`/api/jobs/${encodeURIComponent(job.id)}`, signal);
    }
  } catch (error) {
    if (signal?.aborted) await cancel(job).catch(() => {});
    throw error;
  } finally {
    followed.delete(job.id);
  }
  show(job);
  if (job.state === "cancelled") throw new DOMException("cancelled", "AbortError");
  if (job.state === "failed") throw new Mistake(job.error ?? "It failed.", 422);
  return job;
}

/** @param {Job} job */
export async function cancel(job) {
  return send(`/api/jobs/${encodeURIComponent(job.id)}`, {}, { method: "DELETE" });
}

/**
 * Say a job's state in a few words.
 * @param {Job} job
 * @returns {string}
 */
export function inWords(job) {
  if (job.state === "waiting") return job.position ? `waiting, ${job.position} before it` : "waiting";
  if (job.state !== "running") return job.state;
  if (!job.total) return job.note || "working";
  const left = job.done ? (job.seconds / job.done) * (job.total - job.done) : 0;
  const time = left >= 1 ? `, about ${duration(left)} left` : "";
  return `${job.note ? `${job.note}: ` : ""}${job.done} of ${job.total}${time}`;
}

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
