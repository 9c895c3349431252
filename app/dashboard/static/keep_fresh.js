// Loads a page again and again, and says at its top when that does not work.

import { ApiError, logIn } from "./api.js";
import { h, show } from "./dom.js";
import { fresh, stale } from "./live.js";
import { failure } from "./notices.js";
import { poll } from "./poll.js";

const problem = document.getElementById("problem");

/**
 * @param {() => Promise<boolean>} round loads and shows; says whether something still runs
 * @param {HTMLElement} content hidden while there is no such thing
 * @returns {() => void} loads again at once
 */
export function keepFresh(round, content) {
  return poll(async () => {
    let busy;
    try {
      busy = await round();
    } catch (error) {
      return refused(error, content);
    }
    show(problem, "", () => null);
    content.hidden = false;
    fresh(busy);
    return busy;
  });
}

/** @param {Error} error @param {HTMLElement} content @returns {boolean} whether to ask again soon */
function refused(error, content) {
  const status = error instanceof ApiError ? error.status : -1;
  if (status === 401) {
    logIn();
    return false;
  }
  const wrong = status === 403 || status === 404 || status === 422;
  if (status === 0) stale();
  show(problem, error.message, () => [
    failure(error),
    wrong && h("p", {}, h("a", { href: "/" }, "See the studies that there are")),
  ]);
  content.hidden = wrong;
  return status === 0;
}

/**
 * @param {HTMLElement} body of one section; its failure leaves the others alone
 * @param {() => Promise<void>} update
 */
export async function section(body, update) {
  try {
    await update();
  } catch (error) {
    show(body, ["error", error.message], () => failure(error));
  }
}
