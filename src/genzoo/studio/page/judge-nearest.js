// @ts-check
/** The training images that are nearest to samples. */
import { follow, get, inWords, send } from "./api.js";
import { el } from "./dom.js";
import { count, remember, runChoice } from "./judge.js";
import { number } from "./runs-shared.js";

/** @typedef {{index: number, distances: number[], own: number | null, suspicious: boolean}} Near */

/** @type {import("./judge.js").Way} */
export function nearestPage(place, all, { signal, query }) {
  const runs = all.filter((r) => r.abilities.includes("samples") && r.images);
  if (!runs.length) {
    place.append(el("p", { class: "quiet" }, "No run here draws images."));
    return;
  }
  const choice = runChoice("Run", runs, query.get("run"), () => {});
  const seed = count("Seed", Number(query.get("seed") ?? 0), 0, 2 ** 53 - 1), n = count("Samples", 12, 1, 64);
  const form = el("form", { class: "ask" }, choice.place, seed.place, n.place, el("button", { class: "main" }, "Look"));
  const result = el("div", { "aria-live": "polite" });
  place.append(form, result);
  /** @type {AbortController | undefined} */
  let mine;

  async function look() {
    mine?.abort();
    const now = (mine = new AbortController());
    const end = AbortSignal.any([signal, now.signal]);
    const run = choice.select.value;
    remember("nearest", [["run", run], ["seed", seed.input.value]]);
    const state = el("p", { class: "quiet", role: "status" }, "comparing …");
    result.replaceChildren(state);
    try {
      const job = await send("/api/judge/nearest", { run, seed: Number(seed.input.value), n: Number(n.input.value) }, { signal: end });
      await follow(job, (j) => (state.textContent = inWords(j)), end);
      const path = `/api/judge/nearest/${encodeURIComponent(job.id)}`;
      /** @type {{rows: Near[], training: number, suspicious: number}} */
      const told = await get(path, end);
      result.replaceChildren(
        el("p", {}, el("strong", {}, `${told.suspicious} of ${told.rows.length}`), ` samples are nearer to a training image than that image is to any other of the ${told.training.toLocaleString("en")} training images.`),
        el("p", { class: "quiet" }, "Left: a sample; right of it its nearest training images. Distances are root mean squared differences of grey levels (0 to 255), in pixels. "
          + "Of images that are new, half or fewer are that near to a training image, so one alone means little: the measure “memorization” counts them over many samples, and held-out images beside them."),
        el("ol", { class: "nearest" }, ...told.rows.map((row, i) => el("li", { class: row.suspicious ? "is-near" : "" },
          el("img", { class: "pixels", loading: "lazy", src: `${path}/${i}.png`, alt: `Sample ${row.index} and its ${row.distances.length} nearest training images` }),
          el("p", { class: "quiet" }, `Sample ${row.index}: `, el("span", { class: "number" }, row.distances.map(number).join(", ")),
            row.own === null ? "" : `; from that training image to its own nearest ${number(row.own)}`, row.suspicious ? el("strong", { class: "warn" }, " suspiciously near") : "")))));
    } catch (error) {
      if (!end.aborted) result.replaceChildren(el("p", { class: "mistake" }, error instanceof Error ? error.message : ""));
    }
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    look();
  });
  look();
}
