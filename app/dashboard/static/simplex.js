// Weights that always sum to 1: moving one rescales those that are not locked.

/**
 * @param {number[]} weights that sum to 1
 * @param {boolean[]} locked which keep their value
 * @param {number} index the one that moves
 * @param {number} wanted its new value; it gets as near as the locked ones allow
 * @returns {number[]} new weights; the others keep their proportions, or share equally when they were all 0
 */
export function moved(weights, locked, index, wanted) {
  const free = weights.map((_, i) => i !== index && !locked[i]);
  if (locked[index] || !free.some(Boolean)) return [...weights];
  const kept = sum(weights.filter((_, i) => i !== index && locked[i]));
  const room = Math.max(0, 1 - kept);
  const value = Math.min(Math.max(wanted, 0), room);
  const others = sum(weights.filter((_, i) => free[i]));
  const number = free.filter(Boolean).length;
  return weights.map((weight, i) => {
    if (i === index) return value;
    if (!free[i]) return weight;
    return others > 0 ? (weight / others) * (room - value) : (room - value) / number;
  });
}

/** @param {boolean[]} locked @param {number} index @returns {boolean} whether that weight can move at all */
export function canMove(locked, index) {
  return !locked[index] && locked.some((held, i) => i !== index && !held);
}

/** @param {number[]} weights not negative @returns {number[]|null} divided by their sum; null when all are 0 */
export function normalised(weights) {
  const total = sum(weights);
  return total > 0 ? weights.map((weight) => weight / total) : null;
}

/** @param {number[]} values @returns {number} */
const sum = (values) => values.reduce((a, b) => a + b, 0);

/**
 * @param {number} version of the domain set whose order the weights follow
 * @param {number[]} weights
 * @param {boolean[]} locked
 * @returns {string} for the address: "1~0.5~0.3l~0.2", where l marks a locked one
 */
export function toText(version, weights, locked) {
  return [version, ...weights.map((weight, i) => `${Number(weight.toFixed(5))}${locked[i] ? "l" : ""}`)].join("~");
}

/**
 * @param {string} text of :func:`toText`
 * @param {number} version
 * @param {number} count how many domains there are
 * @returns {{weights: number[], locked: boolean[]}|null} null when it is about other domains, or no mixture
 */
export function fromText(text, version, count) {
  const [first, ...parts] = text.split("~");
  if (Number(first) !== version || parts.length !== count) return null;
  const values = parts.map((part) => (/^[0-9.]+l?$/.test(part) ? Number.parseFloat(part) : Number.NaN));
  if (!values.every((value) => value >= 0)) return null;
  const weights = normalised(values);
  return weights && { weights, locked: parts.map((part) => part.endsWith("l")) };
}
