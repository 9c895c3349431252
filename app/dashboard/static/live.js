// Says in the header how fresh the page is.

const place = document.getElementById("live");

/** @param {boolean} busy whether something still runs */
export function fresh(busy) {
  if (place === null) return;
  const now = new Date().toLocaleTimeString("en-GB");
  place.className = busy ? "live busy" : "live";
  place.textContent = busy ? `live · ${now}` : `as of ${now}`;
}

/** The last answer did not come; what is shown is old. */
export function stale() {
  if (place === null) return;
  place.className = "live lost";
  place.textContent = "no connection, trying again";
}
