// @ts-check
/** Real or made? A blind test: one image at a time, in an order that the seed decides; R and M answer, Backspace goes back. */
import { file, send } from "./api.js";
import { el, say } from "./dom.js";
import { count, remember, runChoice } from "./judge.js";

/**
 * The outcome of a test.
 * @typedef {{answered: number, right: number, share: number, interval: [number, number], made: {right: number, n: number}, real: {right: number, n: number},
 *   truth: boolean[], words: string}} Verdict
 */

/** @type {import("./judge.js").Way} */
export function blindPage(place, all, { signal, query }) {
  const runs = all.filter((r) => r.abilities.includes("samples") && r.images);
  if (!runs.length) {
    place.append(el("p", { class: "quiet" }, "No run here draws images."));
    return;
  }
  const choice = runChoice("Run", runs, query.get("run"), () => {});
  const seed = count("Seed of the order", Number(query.get("seed") ?? Math.floor(Math.random() * 10000)), 0, 2 ** 53 - 1), n = count("Images", Number(query.get("n") ?? 20), 2, 200);
  const begin = el("button", { class: "main" }, "Begin");
  const form = el("form", { class: "ask" }, choice.place, n.place, seed.place, begin);
  const stage = el("div", { class: "blind-stage" });
  place.append(form, stage);
  /** @type {{run: string, seed: number, n: number, answers: boolean[], pictures: Map<number, Promise<string>>} | undefined} */
  let test;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clear();
    test = { run: choice.select.value, seed: Number(seed.input.value), n: Number(n.input.value), answers: [], pictures: new Map() };
    remember("blind", [["run", test.run], ["seed", String(test.seed)], ["n", String(test.n)]]);
    ask();
  });

  function clear() {
    for (const url of test?.pictures.values() ?? []) url.then(URL.revokeObjectURL, () => {});
  }

  /** @param {number} i @returns {Promise<string>} */
  function picture(i) {
    if (!test) throw new Error("no test");
    const { run, seed: s, n: size, pictures } = test;
    const found = pictures.get(i) ?? file(`/api/judge/blind.png?${new URLSearchParams({ run, seed: String(s), n: String(size), i: String(i) })}`, undefined, signal).then((b) => URL.createObjectURL(b));
    pictures.set(i, found);
    found.catch(() => pictures.delete(i));
    return found;
  }

  async function ask() {
    if (!test) return;
    const mine = test, i = test.answers.length;
    if (i >= test.n) return score();
    const image = el("img", { class: "pixels trial", alt: `Image ${i + 1} of ${test.n}` });
    const real = el("button", { type: "button", onclick: () => answer(false) }, "Real ", el("kbd", {}, "R"));
    const made = el("button", { type: "button", onclick: () => answer(true) }, "Made ", el("kbd", {}, "M"));
    const back = el("button", { type: "button", class: "small", disabled: i === 0, onclick: undo }, "Back ", el("kbd", {}, "⌫"));
    const end = el("button", { type: "button", class: "small", disabled: i === 0, onclick: score }, "End here");
    const held = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.answer;
    real.dataset.answer = "real";
    made.dataset.answer = "made";
    const waiting = el("p", { class: "quiet", role: "status" }, i ? "" : "drawing the images of this test …");
    const frame = stage.querySelector(".frame") ?? el("div", { class: "frame" });
    stage.replaceChildren(
      el("p", { class: "quiet", role: "status" }, `Image ${i + 1} of ${test.n}`), el("progress", { max: test.n, value: i, "aria-label": "Images judged" }),
      frame, waiting, el("div", { class: "row answers" }, real, made), el("div", { class: "row" }, back, end));
    if (held === "made") made.focus();
    else if (held === "real") real.focus();
    else if (i === 0) stage.scrollIntoView({ block: "nearest" });
    try {
      image.src = await picture(i);
      if (mine !== test || test.answers.length !== i) return;
      frame.replaceChildren(image);
      waiting.textContent = "";
      if (i + 1 < test.n) picture(i + 1).catch(() => {});
    } catch (error) {
      if (signal.aborted || mine !== test) return;
      frame.replaceChildren();
      waiting.className = "mistake";
      waiting.textContent = error instanceof Error ? error.message : "";
    }
  }

  /** @param {boolean} made */
  function answer(made) {
    if (!test || !stage.querySelector(".trial") || test.answers.length >= test.n) return;
    test.answers.push(made);
    ask();
  }

  function undo() {
    if (!test?.answers.length) return;
    test.answers.pop();
    ask();
  }

  async function score() {
    if (!test) return;
    const done = test;
    try {
      /** @type {Verdict} */
      const v = await send("/api/judge/blind", { seed: done.seed, n: done.n, answers: done.answers }, { signal });
      const heading = el("h2", { tabIndex: -1 }, `${v.right} of ${v.answered} right`);
      stage.replaceChildren(heading, gauge(v), el("p", {}, v.words),
        el("p", { class: "quiet" }, `Of ${v.made.n} made images ${v.made.right} were taken for made, of ${v.real.n} real ones ${v.real.right} for real. Run ${done.run}, seed ${done.seed}, ${done.n} images.`),
        el("h3", {}, "What they were"),
        el("ul", { class: "truth" }, ...v.truth.map((made, i) => {
          const right = done.answers[i] === made;
          const shown = el("img", { class: "pixels", alt: "" });
          picture(i).then((url) => (shown.src = url), () => {});
          return el("li", { class: right ? "" : "is-wrong" }, shown, el("span", {}, `${made ? "made" : "real"}${right ? "" : ", taken for the other"}`));
        })));
      heading.focus();
    } catch (error) {
      say(error);
    }
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /** @type {HTMLElement} */ (event.target).matches("input, select, textarea")) return;
    if (!test || !stage.querySelector(".answers")) return;
    const pressed = event.key.toLowerCase();
    if (pressed === "r" || pressed === "m") answer(pressed === "m");
    else if (pressed === "backspace") undo();
    else return;
    event.preventDefault();
  }
  document.addEventListener("keydown", key);
  return () => {
    document.removeEventListener("keydown", key);
    clear();
  };
}

/** The interval beside what guessing gives. @param {Verdict} v */
function gauge(v) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  /** @param {string} tag @param {Record<string, string | number>} attributes @param {string} [text] */
  const put = (tag, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [k, value] of Object.entries(attributes)) made.setAttribute(k, String(value));
    if (text) made.textContent = text;
    svg.append(made);
  };
  const x = (/** @type {number} */ share) => 10 + share * 380;
  svg.setAttribute("viewBox", "0 0 400 56");
  svg.setAttribute("role", "img");
  svg.setAttribute("class", "gauge");
  svg.setAttribute("aria-label", `${Math.round(100 * v.share)} % right, interval from ${Math.round(100 * v.interval[0])} to ${Math.round(100 * v.interval[1])} %; guessing gives 50 %`);
  put("line", { class: "axis", x1: x(0), x2: x(1), y1: 22, y2: 22 });
  put("line", { class: "chance", x1: x(0.5), x2: x(0.5), y1: 6, y2: 38 });
  put("line", { class: "span", x1: x(v.interval[0]), x2: x(v.interval[1]), y1: 22, y2: 22 });
  put("circle", { class: "point", cx: x(v.share), cy: 22, r: 7 });
  for (const [share, text] of /** @type {[number, string][]} */ ([[0, "0 %"], [0.5, "guessing"], [1, "100 %"]])) put("text", { x: x(share), y: 52, "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" }, text);
  return svg;
}
