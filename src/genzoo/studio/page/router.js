// @ts-check
/** Pages by the address behind #: `#/runs`, `#/run/NAME`, `#/play/NAME`, `#/judge`. */

/**
 * A page: fills `main`, and may return what is done when it is left. `signal` is aborted then, so that fetches and jobs end.
 * @callback Page
 * @param {HTMLElement} main
 * @param {string[]} words What stands behind the page's name, decoded.
 * @param {{signal: AbortSignal, query: URLSearchParams}} how
 * @returns {void | (() => void) | Promise<void | (() => void)>}
 */

/** @type {Map<string, () => Promise<{page: Page, title?: string}>>} */
const pages = new Map();
/** @type {AbortController | undefined} */
let shown;
/** @type {(() => void) | void} */
let leave;

/**
 * Say which module shows the pages of a name: it exports `page`, and may export `title`.
 * @param {string} name
 * @param {() => Promise<any>} load
 */
export function route(name, load) {
  pages.set(name, load);
}

/**
 * Make an address.
 * @param {string} name
 * @param {string[]} words
 * @returns {string}
 */
export function to(name, ...words) {
  return `#/${[name, ...words.map(encodeURIComponent)].join("/")}`;
}

/** @param {string} hash @returns {{name: string, words: string[], query: URLSearchParams}} */
function read(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const [name, ...words] = path.split("/").map((word) => {
    try {
      return decodeURIComponent(word);
    } catch {
      return word;
    }
  });
  return { name: name || "runs", words, query: new URLSearchParams(query ?? "") };
}

/** @param {HTMLElement} main */
async function show(main) {
  shown?.abort();
  const mine = (shown = new AbortController());
  const { name, words, query } = read(location.hash);
  if (leave) leave();
  leave = undefined;
  main.replaceChildren();
  main.dataset.page = name;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === `#/${name}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const load = pages.get(name);
  if (!load) {
    main.append(Object.assign(document.createElement("p"), { textContent: `There is no page “${name}”.` }));
    return;
  }
  try {
    const module = await load();
    if (mine.signal.aborted) return;
    document.title = `${[module.title ?? name, ...words].join(" · ")} — genzoo studio`;
    const done = await module.page(main, words, { signal: mine.signal, query });
    if (mine.signal.aborted) done?.();
    else leave = done;
  } catch (error) {
    if (mine.signal.aborted) return;
    const said = error instanceof Error ? error.message : String(error);
    main.append(Object.assign(document.createElement("p"), { className: "mistake", textContent: said }));
  }
}

/** @param {HTMLElement} main */
export function begin(main) {
  addEventListener("hashchange", () => {
    show(main);
    main.focus({ preventScroll: false });
  });
  show(main);
}
