// Pages of a list. The API only knows the way forward, so that the way back is remembered here.

import { h } from "./dom.js";
import { select, selected } from "./query.js";

/** @param {() => void} changed */
export function createPager(changed) {
  /** Cursors of the pages before this one. @type {string[]} */
  let before = [];
  const move = (to, stack) => {
    before = stack;
    select({ cursor: to });
    changed();
  };
  return {
    /** Back to the first page, after a filter has changed. */
    reset() {
      before = [];
      select({ cursor: null });
    },
    /** @param {string|null} next @returns {HTMLElement|null} null when there is one page only */
    buttons(next) {
      const cursor = selected("cursor");
      if (!next && !cursor) return null;
      const button = (text, enabled, go) =>
        h("button", { type: "button", "data-focus": text, disabled: !enabled, onclick: go }, text);
      return h(
        "div.pager",
        {},
        button("First", Boolean(cursor), () => move(null, [])),
        button("Previous", before.length > 0, () => move(before.at(-1) || null, before.slice(0, -1))),
        button("Next", Boolean(next), () => move(next, [...before, cursor])),
      );
    },
    /** @returns {any} what its buttons depend on, for :func:`show` */
    key: () => [selected("cursor"), before],
  };
}
