// @ts-check
/** The wall: all runs of the folder, live. */
import { get, send } from "./api.js";
import { commandLine, el, say } from "./dom.js";
import { to } from "./router.js";
import { arrow, at, atWork, badge, crisp, lookNow, measured, notice, pictureAt, progress, style, watch } from "./runs-shared.js";

export const title = "Runs";
/** @typedef {import("./runs-shared.js").Card} Card */

/** @type {[string, string, (run: Card) => boolean][]} */
const FILTERS = [
  ["all", "All", () => true],
  ["work", "Training", atWork],
  ["done", "Finished", (run) => run.state === "finished" || run.state === "imported"],
  ["halt", "Stopped", (run) => run.state === "stopped"],
  ["wrong", "Failed", (run) => run.state === "failed" || run.state === "damaged"],
];

/** @type {import("./router.js").Page} */
export async function page(main, _words, { signal }) {
  await style("runs");
  const said = notice();
  const count = el("p", { class: "quiet", role: "status" });
  const search = el("input", { type: "search", placeholder: "Find a run", "aria-label": "Find a run", oninput: () => draw() });
  const chips = el("div", { class: "chips", role: "group", "aria-label": "Which runs" });
  const wall = el("ul", { class: "wall" });
  const empty = el("div", { class: "empty", hidden: true });
  const zoo = el("section", { "aria-label": "Models of the zoo", hidden: true });
  main.append(
    el("div", { class: "head" }, el("h1", {}, "Runs"), el("a", { class: "button main", href: to("train") }, "Start a training")),
    said,
    el("div", { class: "filter-bar" }, chips, search, count),
    wall, empty, zoo,
  );

  /** @type {Card[]} */
  let runs = [];
  let chosen = "all";
  /** @type {Map<string, {place: HTMLLIElement, shown: string}>} */
  const cards = new Map();

  function draw() {
    const wanted = search.value.trim().toLowerCase();
    const fits = FILTERS.find(([name]) => name === chosen)?.[2] ?? (() => true);
    const shown = runs.filter((r) => fits(r) && `${r.name} ${r.system} ${r.data} ${r.family}`.toLowerCase().includes(wanted));
    for (const [name, card] of cards) {
      if (!shown.some((r) => r.name === name)) {
        card.place.remove();
        cards.delete(name);
      }
    }
    shown.forEach((run, i) => {
      const card = cards.get(run.name) ?? { place: el("li", { class: "card" }), shown: "" };
      cards.set(run.name, card);
      const now = JSON.stringify(run);
      if (now !== card.shown) fill(card.place, run);
      card.shown = now;
      if (wall.children[i] !== card.place) wall.insertBefore(card.place, wall.children[i] ?? null);
    });
    chips.replaceChildren(...FILTERS.map(([name, label, fit]) => {
      const n = runs.filter(fit).length;
      const press = () => { chosen = name; draw(); /** @type {HTMLElement} */ (chips.querySelector("[aria-pressed=true]"))?.focus(); };
      return el("button", { type: "button", class: "chip", "aria-pressed": String(chosen === name), onclick: press }, `${label} ${n}`);
    }));
    count.textContent = shown.length === runs.length ? "" : `${shown.length} of ${runs.length} shown`;
  }

  watch(
    () => get("/api/runs", signal),
    (told) => {
      said.tell("");
      const changed = JSON.stringify(told.runs) !== JSON.stringify(runs);
      runs = told.runs;
      if (changed || !chips.children.length) draw();
      empty.hidden = runs.length > 0;
      chips.hidden = search.hidden = runs.length === 0;
      if (!runs.length && !empty.children.length) fillEmpty(empty, told.folder);
      if (told.zoo.length && !zoo.children.length) fillZoo(zoo, told.zoo);
      return runs.some(atWork) ? 2000 : 5000;
    },
    (error) => said.tell(`${error.message} What is shown is from before.`),
    signal,
  );
}

/** @param {HTMLElement} place @param {Card} run */
function fill(place, run) {
  const old = place.querySelector("img");
  const picture = run.picture
    ? Object.assign(old ?? crisp(el("img", { loading: "lazy", decoding: "async" })), { alt: `Samples of ${run.name} at step ${run.picture.step}` })
    : el("div", { class: "blank" }, run.state === "starting" ? "no samples yet" : "no samples");
  if (run.picture && picture instanceof HTMLImageElement) {
    const src = pictureAt(run.name, run.picture);
    if (picture.getAttribute("src") !== src) picture.src = src;
  }
  const measures = run.measures.map((m) => el("div", { class: "measure" },
    el("dt", {}, m.measure, arrow(m.better)), el("dd", { title: m.protocol ?? "" }, measured(m), el("span", { class: "quiet" }, of(m)))));
  const bar = run.steps && atWork(run)
    ? el("progress", { max: run.steps, value: run.step, "aria-label": `${run.name}: steps done` }) : null;
  const forget = run.state === "failed" && !run.picture && !run.step && el("button", {
    type: "button", class: "small card-over",
    onclick: () => send(at(run.name, "/start"), {}, { method: "DELETE" }).then(lookNow, say),
  }, "Dismiss");
  const about = [run.system, run.data].filter(Boolean).join(" · ");
  place.replaceChildren(
    el("div", { class: "card-shot" }, picture),
    el("div", { class: "about" },
      el("div", { class: "line" }, el("h2", {}, el("a", { href: to("run", run.name) }, run.name)), badge(run.state)),
      el("p", { class: "quiet" }, about || "unknown system"),
      bar,
      el("p", { class: "quiet number" }, progress(run)),
      run.why ? el("p", { class: "mistake why" }, run.why) : null,
      measures.length ? el("dl", {}, ...measures) : null,
      run.more ? el("p", { class: "quiet" }, `and ${run.more} more`) : null,
      forget || null),
  );
}

/** Of what a value is, for a card. @param {import("./runs-shared.js").Measured} m */
function of(m) {
  const data = [m.data, m.split].filter(Boolean).join(" ");
  return ` ${[data, m.n ? `N = ${m.n.toLocaleString("en")}` : ""].filter(Boolean).join(", ")}`;
}

/** @param {HTMLElement} place @param {string} folder */
function fillEmpty(place, folder) {
  place.append(
    el("h2", {}, "No runs yet"),
    el("p", {}, `A training writes its run into ${folder}. Start one here, or in a terminal:`),
    commandLine(`genzoo train dcgan data=digits steps=1000 runs=${folder}`),
    el("p", {}, el("a", { class: "button", href: to("train") }, "Choose a system")),
  );
}

/** @param {HTMLElement} place @param {{name: string, idea: string, measure: string, protocol: string, license: string}[]} models */
function fillZoo(place, models) {
  place.hidden = false;
  place.append(el("h2", {}, "Models of the zoo"), el("ul", { class: "systems plain" }, ...models.map((m) => el("li", { class: "panel" },
    el("h3", {}, el("a", { href: to("play", m.name) }, m.name)), el("p", {}, m.idea),
    el("p", { class: "quiet" }, `${m.measure}. Weights: ${m.license}.`),
    m.protocol ? el("details", {}, el("summary", {}, "how it was measured"), el("p", { class: "quiet" }, m.protocol)) : null))));
}
