// @ts-check
/** Measures of a run with their protocol, and an evaluation with chosen measures. */
import { get, send } from "./api.js";
import { commandLine, el, say } from "./dom.js";
import { arrow, at, lookNow, measured, number } from "./runs-shared.js";

/** @typedef {import("./runs-shared.js").Run} Run */
/** @type {Record<string, string>} */
const CAPTIONS = {
  evaluate: "Samples that were measured", neighbours: "Left: samples nearest to training images; right of each the training images nearest to it",
  pairs: "Rows of inputs, outputs and targets", ways: "Rows of inputs, translations and the way back",
};

/**
 * The section of a run's measures, which can be given new ones.
 * @param {string} name
 * @returns {{place: HTMLElement, draw: (run: Run) => void}}
 */
export function evaluation(name) {
  const table = el("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Table of measures" });
  const pictures = el("div", { class: "eval-shots" });
  const state = el("div", { class: "at-work" });
  const choice = el("details", {}, el("summary", {}, "Evaluate with chosen measures"));
  const form = el("form", { class: "choice" });
  choice.append(form);
  choice.addEventListener("toggle", () => { if (choice.open && !form.children.length) fill(form, name); });
  const place = el("section", { "aria-labelledby": "measures" }, el("h2", { id: "measures" }, "Measures"), table, state, choice, pictures);
  let shown = "";
  return {
    place,
    draw(run) {
      const now = JSON.stringify([run.measures, run.evaluation, run.commands.evaluate, run.damage]);
      if (now === shown) return;
      shown = now;
      table.replaceChildren(run.damage ? el("p", { class: "mistake" }, run.damage) : rows(run));
      state.replaceChildren(...working(run));
      pictures.replaceChildren(...run.evaluation.map((p) => el("figure", {},
        el("img", { class: "pixels", loading: "lazy", src: at(name, `/evaluation/${p.name}.png?${p.stamp}`), alt: CAPTIONS[p.name] ?? p.name }),
        el("figcaption", { class: "quiet" }, CAPTIONS[p.name] ?? p.name))));
    },
  };
}

/** @param {Run} run */
function rows(run) {
  if (!run.measures.length) return el("p", { class: "quiet" }, "Not measured yet.");
  const head = ["Measure", "Value", "95 % interval", "Real data", "N", "How it was measured"].map((h) => el("th", { scope: "col" }, h));
  return el("table", { class: "measures" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...run.measures.map((m) => el("tr", {},
    el("th", { scope: "row" }, m.measure, arrow(m.better)),
    el("td", { class: "number" }, measured(m)),
    el("td", { class: "number" }, m.interval ? `${number(m.interval[0])} – ${number(m.interval[1])}` : "–"),
    el("td", { class: "number" }, number(m.floor)),
    el("td", { class: "number" }, number(m.n)),
    el("td", { class: "protocol" }, m.protocol ?? "", m.data ? el("span", { class: "quiet" }, ` On ${m.data} ${m.split ?? ""}.`) : "")))));
}

/** @param {Run} run */
function working(run) {
  const at_ = run.commands.evaluate;
  if (!at_) return [];
  const last = [...at_.printed].reverse().find((line) => line.trim()) ?? "starting …";
  if (at_.running) {
    const end = () => send(at(run.name, "/evaluate/stop")).then(lookNow, say);
    return [el("p", { role: "status" }, el("span", { class: "run-state is-training" }, "Evaluating"), " ", el("span", { class: "quiet" }, last)),
      el("button", { type: "button", class: "small", onclick: end }, "Stop evaluating")];
  }
  return at_.why ? [el("p", { class: "mistake" }, at_.why)] : [];
}

/** @param {HTMLFormElement} form @param {string} name */
async function fill(form, name) {
  /** @type {{question: string, name: string, line: string, gives: string, needs: string}[]} */
  let measures;
  try {
    measures = await get("/api/runs/measures");
  } catch (error) {
    form.append(el("p", { class: "mistake" }, error instanceof Error ? error.message : ""));
    return;
  }
  const line = el("div");
  const n = el("input", { type: "number", min: "2", placeholder: "what is affordable", oninput: told });
  const split = el("select", { onchange: told }, ...[["", "as a rule: test"], ["test", "test"], ["train", "train"], ["all", "all"]].map(([value, text]) => el("option", { value }, text)));
  const seed = el("input", { type: "number", min: "0", placeholder: "0", oninput: told });
  const groups = [...new Set(measures.map((m) => m.question))].map((question) => el("fieldset", {}, el("legend", {}, question),
    ...measures.filter((m) => m.question === question).map((m) => el("label", { class: "measure-choice" },
      el("input", { type: "checkbox", name: m.name, onchange: told }), el("span", {}, el("code", {}, m.name), ` ${m.line}`, el("span", { class: "quiet" }, ` ${m.gives}${m.needs ? `; needs ${m.needs}` : ""}`))))));
  function body() {
    const chosen = [.../** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll("input[type=checkbox]:checked"))].map((c) => c.name);
    return { measures: chosen, n: Number(n.value) || null, split: split.value, seed: Number(seed.value) || 0 };
  }
  async function told() {
    try {
      line.replaceChildren(commandLine((await send(at(name, "/evaluate/line"), body())).line));
    } catch (error) {
      line.replaceChildren(el("p", { class: "mistake" }, error instanceof Error ? error.message : ""));
    }
  }
  form.append(
    el("p", { class: "quiet" }, "With none chosen, those that apply and are not marked “on request” are taken."),
    el("div", { class: "groups" }, ...groups),
    el("div", { class: "row" }, el("label", {}, "samples", n), el("label", {}, "part of the data", split), el("label", {}, "seed", seed)),
    line, el("button", { class: "main" }, "Evaluate"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await send(at(name, "/evaluate"), body());
      /** @type {HTMLDetailsElement} */ (form.parentElement).open = false;
      lookNow();
    } catch (error) {
      say(error);
    }
  });
  told();
}
