// Buttons that change something: they say why they cannot, ask again where it hurts, and show what the API refuses.

import { ApiError, logIn } from "./api.js";
import { h } from "./dom.js";

const ASK_AGAIN_SECONDS = 6;
const may = new Set((document.body.dataset.may ?? "").split(" "));

/** @param {"read"|"write"|"admin"} scope @returns {string} why the reader cannot, empty when it can */
function whyNot(scope) {
  return may.has(scope) ? "" : `Your key cannot do this: it lacks the scope “${scope}”.`;
}

/**
 * @typedef {object} Action
 * @property {() => Promise<any>} run calls the API
 * @property {() => void} [done] after it went well
 * @property {"write"|"admin"} [needs] write when left out
 * @property {string} [sure] the question before something that cannot be taken back
 * @property {string} [about] what it does, for those who wonder
 * @property {string} [key] what gives the focus back after a change; the text when left out
 * @property {string} [of] what it is about, for those who hear the page
 */

/**
 * @param {string} text
 * @param {Action} action
 * @returns {HTMLElement} a button, and the place where a refusal is shown
 */
export function action(text, { run, done, needs = "write", sure = "", about = "", key = text, of = "" }) {
  const reason = whyNot(needs);
  const refusal = h("span.refusal", { role: "alert" });
  let asked = 0;
  const clicked = async () => {
    if (sure && !asked) {
      asked = setTimeout(calm, 1000 * ASK_AGAIN_SECONDS);
      button.textContent = sure;
      button.classList.add("sure");
      return;
    }
    calm();
    await attempt(button, refusal, run, done);
  };
  const calm = () => {
    clearTimeout(asked);
    asked = 0;
    button.textContent = text;
    button.classList.remove("sure");
  };
  /** @type {HTMLButtonElement} */
  const button = /** @type {any} */ (
    h(
      "button",
      {
        type: "button",
        disabled: Boolean(reason),
        title: reason || about || null,
        "aria-label": of ? `${text}: ${of}` : null,
        "data-focus": key,
        onclick: clicked,
      },
      text,
    )
  );
  return h("span.action", {}, button, refusal);
}

/**
 * @param {HTMLButtonElement} button
 * @param {HTMLElement} refusal
 * @param {() => Promise<any>} run
 * @param {() => void} [done]
 */
export async function attempt(button, refusal, run, done) {
  button.disabled = true;
  refusal.textContent = "";
  try {
    await run();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) logIn();
    refusal.textContent = error.message;
    return;
  } finally {
    button.disabled = false;
  }
  done?.();
}

/**
 * @param {Record<string, any>} attributes of the form
 * @param {string} submit the text of its button
 * @param {Action} action
 * @param {...import("./dom.js").Child} fields
 * @returns {HTMLElement} a form that calls the API when it is sent
 */
export function form(attributes, submit, { run, done, needs = "write" }, ...fields) {
  const reason = whyNot(needs);
  const refusal = h("span.refusal", { role: "alert" }, reason);
  /** @type {HTMLButtonElement} */
  const button = /** @type {any} */ (h("button.main", { type: "submit", disabled: Boolean(reason) }, submit));
  const sent = (event) => {
    event.preventDefault();
    if (!button.disabled) attempt(button, refusal, run, done);
  };
  return h("form.form", { ...attributes, onsubmit: sent }, fields, h("div.buttons", {}, button, refusal));
}
