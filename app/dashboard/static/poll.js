// Asks again while something runs, rarely when nothing does, never while nobody looks.

const BUSY_SECONDS = 3;
const IDLE_SECONDS = 20;

/**
 * @param {() => Promise<boolean>} task loads and shows; says whether something still runs
 * @returns {() => void} asks for an extra round as soon as possible
 */
export function poll(task) {
  let timer = 0;
  let working = false;
  let again = false;

  async function round() {
    clearTimeout(timer);
    if (working) {
      again = true;
      return;
    }
    working = true;
    let busy = false;
    try {
      busy = await task();
    } finally {
      working = false;
      const wait = again ? 0 : busy ? BUSY_SECONDS : IDLE_SECONDS;
      again = false;
      if (!document.hidden) timer = setTimeout(round, 1000 * wait);
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else round();
  });
  round();
  return round;
}
