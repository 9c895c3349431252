// Asks for the API key of a service that wants one.

import { rememberKey } from "./api.js";
import { h } from "./dom.js";

/**
 * @param {HTMLElement} place
 * @param {string} sentence what the service said
 */
export function askForKey(place, sentence) {
  if (place.querySelector("form")) return;
  const input = /** @type {HTMLInputElement} */ (
    h("input", { type: "password", name: "key", required: true, autocomplete: "off", id: "key" })
  );
  const form = h(
    "form.notice",
    {
      onsubmit: (event) => {
        event.preventDefault();
        rememberKey(input.value.trim());
        location.reload();
      },
    },
    h("p", {}, h("strong", {}, "This service asks for its API key. "), sentence),
    h("label", { for: "key" }, "API key "),
    input,
    h("button", { type: "submit" }, "Use it in this tab"),
    h("p.about", {}, "It is kept in this tab only, until you close it."),
  );
  place.replaceChildren(form);
  input.focus();
}
