// Where the reader is, and the pages of a study.

import { h } from "./dom.js";

const PAGES = [
  { path: "", text: "Study" },
  { path: "/imports", text: "Imports" },
  { path: "/schedules", text: "Schedules" },
  { path: "/events", text: "Events" },
];

/**
 * @param {{id: string, name: string}} study
 * @param {string} here the path of this page below the study
 * @returns {HTMLElement}
 */
export function crumbs(study, here) {
  const to = (path) => `/studies/${study.id}${path}`;
  return h(
    "div.place",
    {},
    h(
      "nav.crumbs",
      { "aria-label": "Where you are" },
      h("a", { href: "/" }, "Studies"),
      " / ",
      here ? h("a", { href: to("") }, h("bdi", {}, study.name)) : h("bdi", {}, study.name),
    ),
    h(
      "nav.pages",
      { "aria-label": "Pages of this study" },
      PAGES.map(({ path, text }) => h("a", { href: to(path), "aria-current": path === here ? "page" : null }, text)),
    ),
  );
}
