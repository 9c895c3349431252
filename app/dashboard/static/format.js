// Numbers and times as people read them. What is not known is a dash.

const DASH = "–";
/** @type {[number, string][]} */
const SCALES = [
  [1e15, "Q"],
  [1e12, "T"],
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "k"],
];

/** @param {number|null|undefined} value @returns {boolean} */
const missing = (value) => value === null || value === undefined || !Number.isFinite(value);

/** @param {number|null|undefined} value a share @returns {string} 0.1234 as 12.3 % */
export function percent(value) {
  if (missing(value)) return DASH;
  const hundred = 100 * value;
  const digits = hundred !== 0 && Math.abs(hundred) < 1 ? 2 : 1;
  return `${hundred.toFixed(digits)} %`;
}

/** @param {number|null|undefined} value a count @returns {string} 1234567 as 1.23M */
export function count(value) {
  if (missing(value)) return DASH;
  for (const [size, letter] of SCALES) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))}${letter}`;
  }
  return String(value);
}

/** @param {number|null|undefined} value a count @returns {string} every digit, in groups */
export function exact(value) {
  return missing(value) ? DASH : value.toLocaleString("en-GB");
}

/** @param {number|null|undefined} value @param {number} [digits] @returns {string} */
export function decimal(value, digits = 4) {
  return missing(value) ? DASH : value.toFixed(digits).replace("-", "−");
}

/** @param {number|null|undefined} value @param {number} [digits] @returns {string} with its sign */
export function signed(value, digits = 4) {
  return missing(value) ? DASH : `${value > 0 ? "+" : ""}${decimal(value, digits)}`;
}

/** @param {number|null|undefined} value @returns {string} 1.93 epochs as 1.93 */
export function epochs(value) {
  if (missing(value)) return DASH;
  return value < 10 ? value.toFixed(2) : value.toFixed(1);
}

/** @param {number|null|undefined} value a ratio @returns {string} */
export function times(value) {
  return missing(value) ? DASH : `×${value < 10 ? value.toFixed(2) : value.toFixed(0)}`;
}

/** @param {{mean: number, low: number, high: number}|null|undefined} interval @returns {string} */
export function interval(interval) {
  return interval ? `${decimal(interval.mean)} [${decimal(interval.low)}, ${decimal(interval.high)}]` : DASH;
}

/** @param {number|null|undefined} seconds @returns {string} */
export function duration(seconds) {
  if (missing(seconds)) return DASH;
  if (seconds < 10) return `${seconds.toFixed(2)} s`;
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  return seconds < 5400 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** @param {string|null} iso a UTC time @returns {string} in the reader's zone */
export function time(iso) {
  if (!iso) return DASH;
  /** @type {Intl.DateTimeFormatOptions} */
  const options = { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
  return new Date(iso).toLocaleString("en-GB", options);
}

/** @param {string} id a UUID @returns {string} its end, which differs most */
export function shortId(id) {
  return id.slice(-8);
}

/** @param {string} name bits_per_byte @returns {string} bits per byte */
export function words(name) {
  return name.replaceAll("_", " ");
}
