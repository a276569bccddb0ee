// @ts-check
/** The page of data beside a form: what is in it, what was left out and why, a sheet of examples. */
import { cancel, follow, get, inWords, send } from "./api.js";
import { el } from "./dom.js";

/**
 * What is in a data set.
 * @typedef {{name: string, examples: Record<string, Record<string, number>>, shape: number[], classes: Record<string, number>, captions: number, words?: number,
 *   first_captions?: string[], notes: string[], left_out: [string, string][], left_out_count: number, kind: string, levels?: number, rate?: number}} Told
 */

/**
 * The page of data, which can be asked to look.
 * @param {{kind: string}} form
 * @param {AbortSignal} signal
 */
export function dataPage(form, signal) {
  const inside = el("div", { "aria-live": "polite" }, el("p", { class: "quiet" }, `Name some data, and what is in them is shown here. This system takes ${form.kind} data.`));
  const place = el("section", { class: "panel data", "aria-labelledby": "data-page" }, el("h2", { id: "data-page" }, "What is in the data"), inside);
  /** @type {AbortController | undefined} */
  let mine;
  return {
    place,
    /** @param {string} system @param {Record<string, string>} values */
    async look(system, values) {
      mine?.abort();
      const now = (mine = new AbortController());
      const end = AbortSignal.any([signal, now.signal]);
      if (!values.data) {
        inside.replaceChildren(el("p", { class: "quiet" }, `This system takes ${form.kind} data.`));
        return;
      }
      try {
        const job = await send("/api/train/look", { system, values }, { signal: end });
        const state = el("p", { class: "quiet" });
        const stop = el("button", { type: "button", class: "small", onclick: () => { now.abort(); cancel(job).catch(() => {}); inside.replaceChildren(el("p", { class: "quiet" }, "Not looked at.")); } }, "Do not wait");
        const slow = setTimeout(() => { if (!end.aborted) inside.replaceChildren(state, stop); }, 300);
        try {
          await follow(job, (j) => (state.textContent = `Reading ${values.data}: ${inWords(j)}`), end);
        } finally {
          clearTimeout(slow);
        }
        /** @type {Told} */
        const told = await get(`/api/train/look/${encodeURIComponent(job.id)}`, end);
        inside.replaceChildren(...shown(told, `/api/train/look/${encodeURIComponent(job.id)}/sheet.png`));
      } catch (error) {
        if (end.aborted) return;
        inside.replaceChildren(el("p", { class: "mistake" }, error instanceof Error ? error.message : String(error)));
      }
    },
  };
}

/** @param {Told} told @param {string} sheet */
function shown(told, sheet) {
  const counts = Object.entries(told.examples).map(([field, sizes]) => {
    const parts = Object.entries(sizes).map(([part, n]) => `${n.toLocaleString("en")} ${part}`).join(", ");
    return Object.keys(told.examples).length > 1 ? `${field}: ${parts}` : parts;
  });
  const classes = Object.entries(told.classes);
  const most = Math.max(...classes.map(([, n]) => n), 1);
  /** @type {[string, string][]} */
  const facts = [["examples", counts.join("; ")], ["shape", told.shape.join(" × ")]];
  if (told.captions) facts.push(["captions", `${told.captions.toLocaleString("en")}${told.words ? `, of ${told.words.toLocaleString("en")} words` : ""}`]);
  if (told.rate) facts.push(["samples per second", told.rate.toLocaleString("en")]);
  return [
    el("dl", { class: "facts" }, ...facts.flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)])),
    el("img", { class: "pixels sheet", src: sheet, alt: `The first examples of ${told.name}` }),
    ...told.notes.map((note) => el("p", { class: "note" }, note)),
    told.first_captions?.length ? el("p", { class: "quiet" }, `“${told.first_captions.join("”, “")}”`) : "",
    classes.length ? el("details", {}, el("summary", {}, `${classes.length} classes`), el("ul", { class: "classes" }, ...classes.map(([name, n]) =>
      el("li", {}, el("span", {}, name), el("meter", { min: 0, max: most, value: n, "aria-label": `examples of ${name}` }), el("span", { class: "number" }, n.toLocaleString("en")))))) : "",
    told.left_out_count ? el("details", { open: true }, el("summary", {}, `${told.left_out_count.toLocaleString("en")} left out, and why`),
      el("div", { class: "scroll left-out", tabIndex: 0, role: "region", "aria-label": "Left out" }, el("table", {}, el("tbody", {}, ...told.left_out.map(([name, why]) =>
        el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "quiet" }, why)))))),
      told.left_out_count > told.left_out.length ? el("p", { class: "quiet" }, `and ${(told.left_out_count - told.left_out.length).toLocaleString("en")} more`) : null) : el("p", { class: "quiet" }, "Nothing was left out."),
  ];
}
