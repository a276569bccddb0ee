// @ts-check
/** Elements. Whatever comes from names, captions or files goes in as text, never as HTML. */

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [properties] Properties; `class`, `for`, and names with a dash are attributes; `on…` are listeners; `dataset` is merged.
 * @param {...(Node | string | null | undefined | false)} children Strings become text.
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on") && typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(made.dataset, value);
    else if (name === "class" || name === "for" || name === "role" || name === "list" || name.includes("-")) made.setAttribute(name, String(value));
    else Object.assign(made, { [name]: value });
  }
  for (const child of children) if (child !== null && child !== undefined && child !== false) made.append(child);
  return made;
}

/**
 * Say something at the foot of the page, for a while: a mistake, or that something is done.
 * @param {unknown} what An error or a sentence. That something was stopped is no mistake, and is not said.
 */
export function say(what) {
  if (what instanceof DOMException && what.name === "AbortError") return;
  const place = /** @type {HTMLElement} */ (document.getElementById("said"));
  place.textContent = what instanceof Error ? what.message : String(what);
  place.hidden = false;
  clearTimeout(Number(place.dataset.timer));
  place.dataset.timer = String(setTimeout(() => (place.hidden = true), 8000));
}

/**
 * Give a file to the person.
 * @param {Blob} blob
 * @param {string} name
 */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/**
 * Show a command that repeats what the page did, with a button that copies it.
 * @param {string} command
 * @returns {HTMLElement}
 */
export function commandLine(command) {
  const copy = el("button", { type: "button", class: "small", onclick: () => navigator.clipboard.writeText(command).then(() => say("Copied."), say) }, "Copy");
  return el("div", { class: "command" }, el("code", {}, command), copy);
}
