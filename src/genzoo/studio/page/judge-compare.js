// @ts-check
/** Runs measure by measure, ranked as `genzoo compare` ranks them. */
import { get } from "./api.js";
import { commandLine, el } from "./dom.js";
import { to } from "./router.js";
import { remember } from "./judge.js";
import { arrow, number, pictureAt, spread } from "./runs-shared.js";

/** @typedef {{value: number | null, se: number | null, unit: string | null, n: number | null}} Value */
/**
 * A row of a comparison.
 * @typedef {{measure: string, values: Record<string, Value>, best: string[], tie: boolean, reason: string, note: string, protocol: string, better: string}} Row
 */

/** @type {import("./judge.js").Way} */
export function comparePage(place, runs, { signal, query }) {
  const asked = query.getAll("run");
  const first = asked.length ? asked : runs.filter((r) => r.measures.length).slice(0, 4).map((r) => r.name);
  const boxes = runs.map((r) => el("input", { type: "checkbox", value: r.name, checked: first.includes(r.name), onchange: draw }));
  const split = el("select", { onchange: draw }, ...[["", "any part of the data"], ["test", "test"], ["train", "train"], ["all", "all"]].map(([value, label]) => el("option", { value, selected: query.get("split") === value }, label)));
  const result = el("div", { "aria-live": "polite" });
  place.append(
    el("fieldset", { class: "choose-runs" }, el("legend", {}, "Runs"), ...boxes.map((b, i) => el("label", {}, b, el("span", {}, b.value, el("span", { class: "quiet" }, runs[i].measures.length ? "" : " not measured yet"))))),
    el("label", {}, "measured on", split), result);
  let turn = 0;

  async function draw() {
    const mine = ++turn;
    const chosen = boxes.filter((b) => b.checked).map((b) => b.value);
    /** @type {[string, string][]} */
    const pairs = chosen.map((r) => ["run", r]);
    if (split.value) pairs.push(["split", split.value]);
    remember("compare", pairs);
    if (chosen.length < 2) {
      result.replaceChildren(el("p", { class: "quiet" }, "Choose two or more runs."));
      return;
    }
    try {
      /** @type {{runs: string[], rows: Row[], warnings: string[], level: number, line: string}} */
      const told = await get(`/api/judge/compare?${new URLSearchParams(pairs)}`, signal);
      if (mine !== turn) return;
      result.replaceChildren(table(told, runs), ...told.warnings.map((w) => el("p", { class: "note" }, w)),
        el("p", { class: "quiet" }, `A run counts as better where chance explains a difference with a probability of less than ${100 * told.level} %, over all rows and pairs together. `
          + "Values are ranked only beside values that were measured alike."),
        commandLine(told.line));
    } catch (error) {
      if (mine === turn && !signal.aborted) result.replaceChildren(el("p", { class: "mistake" }, error instanceof Error ? error.message : ""));
    }
  }
  draw();
}

/** @param {{runs: string[], rows: Row[]}} told @param {import("./judge.js").Card[]} runs */
function table(told, runs) {
  const heads = told.runs.map((name) => {
    const picture = runs.find((r) => r.name === name)?.picture;
    return el("th", { scope: "col" }, picture ? el("img", { class: "pixels thumb", src: pictureAt(name, picture), alt: `Samples of ${name}` }) : null, el("a", { href: to("run", name) }, name));
  });
  const rows = told.rows.map((row) => el("tr", {},
    el("th", { scope: "row" }, row.measure, arrow(row.better), el("details", {}, el("summary", {}, "how it was measured"), el("p", { class: "quiet protocol" }, row.protocol)), row.reason ? el("p", { class: "quiet protocol" }, row.reason) : null, row.note ? el("p", { class: "quiet protocol" }, row.note) : null),
    ...told.runs.map((name) => cell(row, name))));
  return el("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Comparison" }, el("table", { class: "comparison" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Measure"), ...heads)), el("tbody", {}, ...rows)));
}

/** @param {Row} row @param {string} name */
function cell(row, name) {
  const v = row.values[name];
  if (!v) return el("td", { class: "quiet" }, "–");
  const best = row.best.includes(name);
  const said = best ? (row.tie ? "best, or not told from it" : "best") : "";
  return el("td", { class: best ? "number best" : "number" }, `${number(v.value)}${spread(v.se)}${v.unit ? ` ${v.unit}` : ""}`, said ? el("span", { class: "said" }, said) : null);
}
