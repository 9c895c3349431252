// Reads the public API. The key, when the service asks for one, stays in this tab.

const KEY = "mixwright-api-key";

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

/** @returns {boolean} whether the reader gave a key */
export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** @param {string} key what the reader typed */
export function rememberKey(key) {
  sessionStorage.setItem(KEY, key);
}

/**
 * @param {string} path below /v1
 * @param {Record<string, string|number|null|undefined>} [query] empty values are left out
 * @returns {Promise<any>} the JSON body
 */
export async function getJson(path, query = {}) {
  const url = new URL(`/v1${path}`, location.origin);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, String(value));
  }
  const key = sessionStorage.getItem(KEY);
  let response;
  try {
    response = await fetch(url, { headers: key === null ? {} : { Authorization: `Bearer ${key}` } });
  } catch {
    throw new ApiError("The service does not answer. Is it still running?", 0);
  }
  if (!response.ok) throw new ApiError(await sentenceOf(response), response.status);
  return response.json();
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
