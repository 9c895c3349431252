// Reads the public API. The browser sends the cookie of the login by itself; no script ever sees it.

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
  let response;
  try {
    response = await fetch(url);
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
