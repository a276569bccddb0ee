// @ts-check
/** Start a training: choose a system, fill in its form, look at the data, copy the command or start. */
import { get } from "./api.js";
import { el } from "./dom.js";
import { to } from "./router.js";
import { style } from "./runs-shared.js";
import { formPage } from "./train-form.js";

export const title = "Train";
/**
 * A system.
 * @typedef {{name: string, family: string, idea: string, paper: string, kind: string, presets: string[], abilities: string[], example: string}} System
 */
/** @typedef {{systems: System[], tasks: {name: string, words: string, systems: string[]}[], sets: Record<string, string>}} Systems */

/** @type {import("./router.js").Page} */
export async function page(main, [name], { signal, query }) {
  await Promise.all([style("runs"), style("train")]);
  /** @type {Systems} */
  const told = await get("/api/train/systems", signal);
  if (name) return formPage(main, name, told, signal);
  let task = query.get("task") ?? "";
  const search = el("input", { type: "search", placeholder: "Find a system", "aria-label": "Find a system", oninput: draw });
  const chips = el("div", { class: "chips", role: "group", "aria-label": "What it is for" });
  const count = el("p", { class: "quiet", role: "status" });
  const list = el("div");
  main.append(el("h1", {}, "What do you want to train?"), el("div", { class: "tasks" }, chips), el("div", { class: "filter-bar" }, search, count), list);

  function draw() {
    const wanted = search.value.trim().toLowerCase();
    const able = new Set(told.tasks.find((t) => t.name === task)?.systems);
    const shown = told.systems.filter((s) => (!task || able.has(s.name)) && `${s.name} ${s.presets.join(" ")} ${s.family} ${s.idea} ${s.kind}`.toLowerCase().includes(wanted));
    const every = [{ name: "", words: "everything", systems: told.systems }, ...told.tasks];
    chips.replaceChildren(...every.map((t) => el("button", {
      type: "button", class: "chip", "aria-pressed": String(task === t.name),
      onclick: () => { task = t.name; draw(); /** @type {HTMLElement} */ (chips.querySelector("[aria-pressed=true]"))?.focus(); },
    }, `${t.words} ${t.systems.length}`)));
    count.textContent = `${shown.length} system${shown.length === 1 ? "" : "s"}`;
    list.replaceChildren(...[...new Set(shown.map((s) => s.family))].map((family) => el("section", { "aria-label": family }, el("h2", {}, family),
      el("ul", { class: "systems" }, ...shown.filter((s) => s.family === family).map(systemOf)))));
  }
  draw();
}

/** @param {System} s */
function systemOf(s) {
  return el("li", { class: "system" },
    el("h3", {}, el("a", { href: to("train", s.name) }, s.name)),
    el("p", {}, s.idea),
    el("p", { class: "quiet" }, `${s.kind} data${s.paper ? ` · ${s.paper}` : ""}`),
    s.presets.length ? el("p", { class: "presets" }, el("span", { class: "quiet" }, "presets"), ...s.presets.map((p) => el("a", { class: "chip", href: to("train", p) }, p))) : null);
}
