// @ts-check
/** The form of a system: made of its signature, checked by what the command line is checked by. */
import { get, send } from "./api.js";
import { commandLine, el, say } from "./dom.js";
import { to } from "./router.js";
import { dataPage } from "./train-data.js";

/**
 * A setting as a field.
 * @typedef {{name: string, kind: "integer" | "number" | "switch" | "choice" | "several" | "text" | "run", able: string, default: string, from_data: boolean,
 *   required: boolean, choices: string[], allowed: string, doc: string}} Field
 */
/** @typedef {import("./train.js").System & {preset: string | null, about: string[], groups: {name: string, fields: Field[]}[]}} Form */

/** Settings of every training that are asked for first; all others stand behind. */
const FIRST = { training: ["steps", "batch", "seed", "measure", "device"], data: ["size", "channels", "limit", "flip"] };
/** @type {Record<string, string>} */
const NAMES = { system: "The system", training: "The training", data: "How the data are read" };

/**
 * Show the form of a system.
 * @param {HTMLElement} main
 * @param {string} name System or preset.
 * @param {import("./train.js").Systems} told
 * @param {AbortSignal} signal
 */
export async function formPage(main, name, told, signal) {
  const waiting = el("p", { class: "quiet", role: "status" }, `Reading the signature of ${name} …`);
  main.append(el("p", { class: "quiet" }, el("a", { href: to("train") }, "All systems")), waiting);
  /** @type {[Form, {runs: import("./runs-shared.js").Card[], folder: string}]} */
  const [form, there] = await Promise.all([get(`/api/train/systems/${encodeURIComponent(name)}`, signal), get("/api/runs", signal)]);
  waiting.remove();
  /** @type {Map<string, {place: HTMLElement, read: () => string, wrong: (sentence: string) => void}>} */
  const fields = new Map();
  const called = form.preset ?? form.name;
  const line = el("div", { class: "line-to-copy" });
  const start = el("button", { class: "main" }, "Start training");
  const wrong = el("p", { class: "mistake", role: "status" });
  const look = dataPage(form, signal);

  /** @param {Field} f */
  function add(f) {
    const made = field(f, there);
    fields.set(f.name, made);
    return made.place;
  }
  const data = add({ name: "data", kind: "text", able: "", default: form.example, from_data: false, required: true, choices: [], allowed: "", doc: "The name of a set, or the path of a folder, an archive or a file of your own." });
  const input = /** @type {HTMLInputElement} */ (data.querySelector("input"));
  input.setAttribute("list", "sets");
  input.placeholder = "digits, or photos/";
  const own = add({ name: "name", kind: "text", able: "", default: "", from_data: false, required: false, choices: [], allowed: "text", doc: `Name of the run folder in ${there.folder}.` });

  const groups = form.groups.map((group) => {
    const first = group.name === "system" ? null : FIRST[/** @type {"training" | "data"} */ (group.name)];
    const needed = group.fields.filter((f) => f.required || f.kind === "run" || (first?.includes(f.name) ?? !f.from_data));
    const rest = group.fields.filter((f) => !needed.includes(f));
    return el("fieldset", {}, el("legend", {}, NAMES[group.name] ?? group.name),
      el("div", { class: "fields" }, ...(group.name === "training" ? [own] : []), ...needed.map(add)),
      rest.length ? el("details", {}, el("summary", {}, group.name === "system" ? `${rest.length} that the data answer` : `${rest.length} more`), el("div", { class: "fields" }, ...rest.map(add))) : null);
  });
  const [system, training, reading] = groups;
  const made = el("form", { class: "train", noValidate: true },
    el("div", { class: "left" }, el("fieldset", {}, el("legend", {}, "Data"), data, el("datalist", { id: "sets" }, ...Object.entries(told.sets).map(([value, label]) => el("option", { value, label })))), training, system, reading),
    el("aside", { class: "right", "aria-label": "Data and command" }, look.place, el("div", { class: "panel go" }, el("h2", {}, "Command"), line, wrong, start)));
  main.append(
    el("div", { class: "head" }, el("h1", {}, `Train ${called}`)),
    el("p", {}, form.idea, form.paper ? el("span", { class: "quiet" }, ` ${form.paper}`) : null),
    form.presets.length ? el("p", { class: "presets" }, el("span", { class: "quiet" }, "presets"), ...[form.name, ...form.presets].map((p) =>
      el("a", { class: "chip", href: to("train", p), ...(p === called ? { "aria-current": "true" } : {}) }, p))) : "",
    el("details", {}, el("summary", {}, "What it is"), ...form.about.map((text) => el("p", {}, text))),
    made);

  const values = () => Object.fromEntries([...fields].map(([key, f]) => [key, f.read()]).filter(([, v]) => v !== ""));
  let turn = 0;
  /** @returns {Promise<boolean>} */
  async function check(all = false) {
    const mine = ++turn;
    /** @type {{line: string, name: string, errors: Record<string, string>}} */
    let answer;
    try {
      answer = await send("/api/train/check", { system: called, values: values() }, { signal });
    } catch (error) {
      if (mine === turn) wrong.textContent = error instanceof Error ? error.message : "";
      return false;
    }
    if (mine !== turn) return false;
    for (const [key, f] of fields) f.wrong(all || f.read() ? answer.errors[key] ?? "" : "");
    const elsewhere = Object.entries(answer.errors).filter(([key]) => !fields.has(key)).map(([, sentence]) => sentence);
    const count = Object.keys(answer.errors).length;
    wrong.textContent = elsewhere.join(" ") || (all && count ? `${count} value${count === 1 ? " is" : "s are"} not allowed; see the fields.` : "");
    line.replaceChildren(commandLine(answer.line));
    const name_ = /** @type {HTMLInputElement} */ (own.querySelector("input"));
    if (!name_.value) name_.placeholder = answer.name;
    return count === 0;
  }
  /** @type {number | undefined} */
  let timer;
  made.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(check, 200);
  });
  /** @type {Set<string>} */
  const reads = new Set(["data", ...(form.groups.find((g) => g.name === "data")?.fields.map((f) => f.name) ?? [])]);
  made.addEventListener("change", (event) => {
    const of = /** @type {HTMLElement} */ (event.target).closest("[data-field]")?.getAttribute("data-field");
    if (of && reads.has(of)) look.look(called, values());
  });
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(timer);
    start.disabled = true;
    try {
      if (!(await check(true))) {
        /** @type {HTMLElement | null} */ (made.querySelector("[aria-invalid=true]"))?.focus();
        return;
      }
      const answer = await send("/api/train", { system: called, values: values() });
      location.hash = to("run", answer.name);
    } catch (error) {
      wrong.textContent = error instanceof Error ? error.message : "";
      say(error);
    } finally {
      start.disabled = false;
    }
  });
  if (!input.value) input.value = form.example in told.sets ? form.example : "";
  check();
  if (input.value) look.look(called, values());
}

/**
 * Make a field.
 * @param {Field} f
 * @param {{runs: import("./runs-shared.js").Card[], folder: string}} there
 */
function field(f, there) {
  const id = `field-${f.name}`;
  const mistake = el("span", { class: "mistake", id: `${id}-wrong`, role: "status" });
  const shown = f.from_data ? "from the data" : f.default || (f.required ? "required" : "(empty)");
  const described = { id, "aria-describedby": `${id}-doc ${id}-wrong` };
  /** @type {HTMLElement} */
  let input;
  let read = () => /** @type {HTMLInputElement} */ (input).value.trim();
  if (f.kind === "switch") {
    const box = el("input", { type: "checkbox", checked: f.default === "true", ...described });
    input = box;
    read = () => (String(box.checked) === f.default ? "" : String(box.checked));
  } else if (f.kind === "choice") {
    input = el("select", described, el("option", { value: "" }, `${shown} (default)`), ...f.choices.filter((c) => c !== f.default).map((c) => el("option", { value: c }, c)));
  } else if (f.kind === "run") {
    const fit = there.runs.filter((r) => r.abilities.includes(f.able));
    input = el("select", described, el("option", { value: "" }, f.required ? (fit.length ? "choose a run" : `no run here that ${f.able}`) : shown),
      ...fit.map((r) => el("option", { value: `${there.folder}/${r.name}` }, r.name)));
  } else if (f.kind === "several") {
    const boxes = f.choices.map((c) => el("input", { type: "checkbox", value: c }));
    input = el("span", { class: "several", role: "group", "aria-labelledby": `${id}-label`, ...described }, ...boxes.map((b) => el("label", {}, b, b.value)));
    read = () => boxes.filter((b) => b.checked).map((b) => b.value).join(",");
  } else {
    input = el("input", { type: "text", placeholder: shown, autocomplete: "off", spellcheck: false, ...described, ...(f.kind === "text" ? {} : { inputMode: f.kind === "integer" ? "numeric" : "decimal" }) });
  }
  const label = f.kind === "several" ? el("span", { id: `${id}-label`, class: "name" }, f.name) : el("label", { for: id, class: "name" }, f.name);
  const hint = el("span", { class: "quiet doc", id: `${id}-doc` }, f.doc, ["integer", "number"].includes(f.kind) || f.allowed.includes("separated") ? el("em", {}, ` ${f.allowed}`) : "");
  return {
    place: el("div", { class: f.kind === "switch" ? "field turn" : "field", dataset: { field: f.name } }, label, input, mistake, hint),
    read,
    /** @param {string} sentence */
    wrong(sentence) {
      mistake.textContent = sentence;
      if (sentence) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
  };
}
