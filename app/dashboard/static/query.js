// What is selected lives in the address, so that an address shows what its sender saw.

/** @param {string} name @returns {string} empty when it is not in the address */
export function selected(name) {
  return new URLSearchParams(location.search).get(name) ?? "";
}

/** @param {Record<string, string|null>} changes empty values leave the address */
export function select(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = query.toString();
  history.replaceState(null, "", `${location.pathname}${text ? `?${text}` : ""}${location.hash}`);
}
