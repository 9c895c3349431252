// What stands where there is nothing to show: an error, or what to do next.

import { h } from "./dom.js";

/** @param {Error} error @returns {HTMLElement} */
export function failure(error) {
  return h("p.notice.bad", {}, h("strong", {}, "This could not be loaded: "), error.message);
}

/**
 * @param {string} title what is missing
 * @param {string} text what to do about it
 * @param {string} [command] a line for the terminal
 * @returns {HTMLElement}
 */
export function empty(title, text, command) {
  return h("div.empty", {}, h("h3", {}, title), h("p", {}, text), command && terminal(command));
}

/** @param {string} command @returns {HTMLElement} a line to copy */
export function terminal(command) {
  const label = h("span", {}, "Copy");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(command);
      label.textContent = "Copied";
    } catch {
      label.textContent = "Select it and copy";
    }
  };
  return h(
    "div.terminal",
    {},
    h("pre", { tabindex: 0 }, h("code", {}, command)),
    h("button", { type: "button", onclick: copy }, label),
  );
}

/**
 * @param {string} path below /v1
 * @param {object} body
 * @returns {string} the curl line that posts it to this service
 */
export function curl(path, body) {
  const key = ` \\\n  -H "Authorization: Bearer $MIXWRIGHT_API_KEY"`;
  const json = JSON.stringify(body).replaceAll("'", "'\\''");
  return `curl -X POST ${location.origin}/v1${path}${key} \\\n  -H 'Content-Type: application/json' -d '${json}'`;
}
