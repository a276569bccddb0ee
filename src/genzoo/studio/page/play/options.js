// @ts-check
/** Fields for the options of a system's own methods, made of what its signature says. */
import { el } from "../dom.js";

/**
 * An option as the server describes it.
 * @typedef {object} Option
 * @property {string} name
 * @property {string} doc
 * @property {string} type
 * @property {(string | number)[]} choices
 * @property {number | null | undefined} least
 * @property {boolean} open
 * @property {number | null | undefined} most
 * @property {any} default
 * @property {boolean} optional
 */

/**
 * @typedef {object} Fields
 * @property {HTMLElement} node
 * @property {() => Record<string, any>} values Those that are not what they are anyway.
 * @property {(values: Record<string, any>) => void} set
 */

let count = 0;

/**
 * Make the fields.
 * @param {Option[]} options
 * @param {{labels?: string[], words?: string[], changed?: () => void}} [how]
 * @returns {Fields}
 */
export function fields(options, { labels = [], words = [], changed = () => {} } = {}) {
  /** @type {Map<string, {read: () => any, write: (value: any) => void}>} */
  const known = new Map();
  const first = el("div", {});
  const more = el("div", {});
  for (const option of options) {
    const made = field(option, labels, words, changed);
    known.set(option.name, made);
    const plain = ["label", "prompt"].includes(option.name) || (option.type === "number" && option.least != null && option.most != null);
    (plain ? first : more).append(made.node);
  }
  const node = el("div", { class: "options" }, first, more.childNodes.length ? el("details", {}, el("summary", {}, "More options"), more) : null);
  return {
    node,
    values: () => Object.fromEntries([...known].map(([name, f]) => [name, f.read()]).filter(([, value]) => value !== undefined)),
    set: (values) => known.forEach((f, name) => f.write(values[name])),
  };
}

/**
 * @param {Option} option
 * @param {string[]} labels
 * @param {string[]} words
 * @param {() => void} changed
 */
function field(option, labels, words, changed) {
  const id = `option-${++count}`;
  const title = option.name.replaceAll("_", " ");
  const help = el("small", { id: `${id}-help`, class: "quiet" }, option.doc);
  const props = { id, "aria-describedby": `${id}-help`, oninput: changed };
  const box = (/** @type {HTMLElement} */ input, /** @type {HTMLElement | null} */ value = null) =>
    el("div", { class: "field" }, el("label", { for: id }, title, value), input, help);
  if (option.name === "label" && labels.length) {
    const select = el("select", props, el("option", { value: "" }, "any"), ...labels.map((l) => el("option", { value: l }, l)));
    return { node: box(select), read: () => select.value || undefined, write: (/** @type {any} */ v) => (select.value = v ?? "") };
  }
  if (option.name === "prompt") {
    const input = el("input", { ...props, type: "text", placeholder: words.slice(0, 3).join(" "), autocomplete: "off" });
    const list = words.length ? el("details", {}, el("summary", {}, "Words that it knows"), el("p", { class: "quiet" }, words.join(", "))) : null;
    return { node: el("div", {}, box(input), list), read: () => input.value.trim() || undefined, write: (/** @type {any} */ v) => (input.value = v ?? "") };
  }
  if (option.type === "boolean") {
    const input = el("input", { ...props, type: "checkbox", checked: Boolean(option.default) });
    const node = el("div", { class: "field" }, el("label", { for: id }, input, title), help);
    return {
      node,
      read: () => (input.checked === option.default ? undefined : input.checked),
      write: (/** @type {any} */ v) => (input.checked = v ?? option.default),
    };
  }
  if (option.type === "choice") {
    const select = el("select", props, ...option.choices.map((c) => el("option", { value: String(c) }, String(c))));
    select.value = String(option.default);
    return {
      node: box(select),
      read: () => (select.value === String(option.default) ? undefined : select.value),
      write: (/** @type {any} */ v) => (select.value = String(v ?? option.default)),
    };
  }
  const ranged = option.type === "number" && option.least != null && option.most != null;
  const value = ranged ? el("output", { for: id, class: "number" }) : null;
  const input = el("input", {
    ...props,
    type: ranged ? "range" : option.type === "string" ? "text" : "number",
    min: option.least ?? "",
    max: ranged ? Math.min(Number(option.most), 4) : (option.most ?? ""),
    step: ranged ? "0.05" : option.type === "integer" ? "1" : "any",
    value: option.default ?? "",
  });
  if (ranged && option.open) input.min = "0.05";
  let set = option.default != null; // a slider without a default says nothing until it is moved
  const tell = () => value && (value.textContent = set ? Number(input.value).toFixed(2) : "not set");
  input.addEventListener("input", () => {
    set = true;
    tell();
  });
  tell();
  return {
    node: box(input, value),
    read: () => ((ranged && !set) || input.value === "" || input.value === String(option.default) ? undefined : option.type === "string" ? input.value : Number(input.value)),
    write: (/** @type {any} */ v) => {
      set = (v ?? option.default) != null;
      input.value = String(v ?? option.default ?? "");
      tell();
    },
  };
}

/**
 * A field for a seed, with a button that draws another one.
 * @param {() => void} changed
 * @param {number} [start]
 */
export function seedField(changed, start = 0) {
  const id = `seed-${++count}`;
  const input = el("input", { id, type: "number", min: "0", max: "9007199254740990", step: "1", value: String(start), oninput: changed });
  const other = el(
    "button",
    {
      type: "button",
      onclick: () => {
        input.value = String(Math.floor(Math.random() * 1e6));
        changed();
      },
    },
    "Another",
  );
  const node = el("div", { class: "field" }, el("label", { for: id }, "seed"), el("div", { class: "seed" }, input, other));
  return {
    node,
    get value() {
      return Math.max(0, Math.floor(Number(input.value) || 0));
    },
    set value(v) {
      input.value = String(v);
    },
  };
}
