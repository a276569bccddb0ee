// @ts-check
/** The page begins here: which module shows what, and the queue above. */
import { get, inWords } from "./api.js";
import { begin, route } from "./router.js";

route("runs", () => import("./runs.js"));
route("run", () => import("./run.js"));
route("train", () => import("./train.js"));
route("judge", () => import("./judge.js"));
route("play", () => import("./play/play.js"));

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const queue = /** @type {HTMLElement} */ (document.getElementById("queue"));

async function look() {
  if (!document.hidden) {
    try {
      /** @type {import("./api.js").Job[]} */
      const jobs = await get("/api/jobs");
      queue.textContent = jobs.length ? `${jobs.length} at work — ${jobs[0].label}: ${inWords(jobs[0])}` : "";
    } catch (error) {
      queue.textContent = error instanceof Error ? error.message : "";
    }
  }
  setTimeout(look, 2000);
}

begin(main);
look();
