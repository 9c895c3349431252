// Builds elements. Text is always set as text, never as markup, so a name can hold anything.

/** @typedef {Node|string|number|null|undefined|boolean|any[]} Child an array holds more of them */

/**
 * @param {string} tag element name, with classes: "td.number"
 * @param {Record<string, any>} [attributes] `on…` are listeners, null and false are left out
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/**
 * @param {HTMLElement} parent
 * @param {Child[]} children
 */
function append(parent, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(parent, child);
    else if (child !== null && child !== undefined && child !== false) {
      parent.append(child instanceof Node ? child : String(child));
    }
  }
}

/** @type {WeakMap<HTMLElement, string>} */
const shown = new WeakMap();

/**
 * Rebuilds `parent` only when what it shows has changed, and gives the focus back to what had it.
 * @param {HTMLElement} parent
 * @param {any} key everything that the content depends on
 * @param {() => Child} build
 * @returns {boolean} whether it was rebuilt
 */
export function show(parent, key, build) {
  const now = JSON.stringify(key);
  if (shown.get(parent) === now) return false;
  const active = parent.contains(document.activeElement) ? document.activeElement : null;
  const focus = active instanceof HTMLElement ? active.dataset.focus : undefined;
  parent.replaceChildren();
  append(parent, [build()]);
  shown.set(parent, now);
  if (focus) {
    /** @type {NodeListOf<HTMLElement>} */
    const nodes = parent.querySelectorAll("[data-focus]");
    const again = [...nodes].find((node) => node.dataset.focus === focus);
    again?.focus({ preventScroll: true });
  }
  return true;
}

let controls = 0;

/**
 * @param {string} label
 * @param {HTMLElement} control
 * @returns {HTMLElement} both, tied together for those who hear the page
 */
export function labelled(label, control) {
  controls += 1;
  control.id = `control-${controls}`;
  return h("span.choice", {}, h("label", { for: control.id }, label), control);
}

/**
 * @param {string} label
 * @param {{value: string, text: string}[]} options
 * @param {string} value
 * @param {(value: string) => void} onChoose
 * @returns {HTMLElement} a labelled drop-down list
 */
export function choice(label, options, value, onChoose) {
  const select = h(
    "select",
    { "data-focus": label, onchange: (event) => onChoose(event.target.value) },
    options.map((option) => h("option", { value: option.value, selected: option.value === value }, option.text)),
  );
  return labelled(label, select);
}

/**
 * @param {string} name
 * @param {...Child} more
 * @returns {HTMLElement} the heading of a row; only a name that is really long may break inside a word
 */
export function nameCell(name, ...more) {
  return h(
    name.length > 28 ? "th.name.long" : "th.name",
    { scope: "row" },
    more.length > 0 ? more : h("bdi", {}, name),
  );
}

/**
 * @param {string} name
 * @param {string} unit in words; empty where there is none
 * @returns {HTMLElement} the heading of a column of numbers with their unit
 */
export function unitHeading(name, unit) {
  return h("th.number", { scope: "col" }, h("bdi", {}, name), unit && [" ", h("span.unit", {}, unit)]);
}

/**
 * @param {(string|HTMLElement)[]} headings a heading that starts with "#" is of numbers; an element is a whole `th`
 * @param {HTMLElement[]} rows
 * @param {string} caption what the table is, for those who hear it
 * @returns {HTMLElement} a table that scrolls sideways on a narrow screen
 */
export function table(headings, rows, caption) {
  const cells = headings.map((heading) => {
    if (typeof heading !== "string") return heading;
    return heading.startsWith("#")
      ? h("th.number", { scope: "col" }, heading.slice(1))
      : h("th", { scope: "col" }, heading);
  });
  return h(
    "div.scroll",
    { tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("caption.hidden", {}, caption), h("thead", {}, h("tr", {}, cells)), h("tbody", {}, rows)),
  );
}
