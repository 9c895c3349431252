// Calls the public API. The browser sends the cookie of the login by itself; no script ever sees it.

/** An answer that is not what was asked for, with a sentence for the reader. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status 0 when there was no answer at all
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Asks for a key; the reader comes back to this page. */
export function logIn() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/** @typedef {Record<string, string|number|boolean|null|undefined>} Query empty values are left out */

/**
 * @param {string} path below /v1
 * @param {Query} [query]
 * @returns {string} the address of the API, on this service
 */
export function addressOf(path, query = {}) {
  const url = new URL(`/v1${path}`, location.origin);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, String(value));
  }
  return url.href;
}

/**
 * @param {string} path below /v1
 * @param {Query} [query]
 * @returns {Promise<any>} the JSON body
 */
export async function getJson(path, query = {}) {
  return (await call(addressOf(path, query))).json();
}

/**
 * @param {string} path below /v1
 * @param {object} [body]
 * @returns {Promise<any>} the JSON body
 */
export async function postJson(path, body) {
  const init =
    body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return bodyOf(await call(addressOf(path), { method: "POST", ...init }));
}

/**
 * @param {string} path below /v1
 * @param {FormData} form
 * @returns {Promise<any>} the JSON body
 */
export async function postForm(path, form) {
  return bodyOf(await call(addressOf(path), { method: "POST", body: form }));
}

/**
 * Changes what stands there now; when somebody else changes it meanwhile, the API refuses and this throws.
 * @param {string} path below /v1
 * @param {object} changes
 * @returns {Promise<any>} the JSON body
 */
export async function patchJson(path, changes) {
  const now = await call(addressOf(path));
  const headers = { "Content-Type": "application/json", "If-Match": now.headers.get("ETag") ?? "" };
  return bodyOf(await call(addressOf(path), { method: "PATCH", body: JSON.stringify(changes), headers }));
}

/** @param {Response} response */
async function bodyOf(response) {
  return response.status === 204 ? null : response.json();
}

/**
 * @param {string} url
 * @param {RequestInit} [init]
 * @returns {Promise<Response>} a good one
 */
async function call(url, init) {
  let response;
  try {
    response = await fetch(url, init);
  } catch {
    throw new ApiError("The service does not answer. Is it still running?", 0);
  }
  if (!response.ok) throw new ApiError(await sentenceOf(response), response.status);
  return response;
}

/**
 * @param {Response} response
 * @returns {Promise<string>} what the problem body says
 */
async function sentenceOf(response) {
  try {
    const problem = await response.json();
    return problem.detail || problem.title || `The service answered ${response.status}.`;
  } catch {
    return `The service answered ${response.status} ${response.statusText}.`;
  }
}
