// Follows a job of the service by server-sent events. Without them the page still asks again every few seconds.

/** @type {Map<string, EventSource>} */
const open = new Map();

/**
 * Browsers allow few connections to one service, so that only jobs that are shown are followed, each once.
 * @param {string} path of the events, below /v1
 * @param {(progress: {state: string, progress: number, message: string, error: string|null}) => void} onProgress
 * @param {() => void} onEnd
 */
export function follow(path, onProgress, onEnd) {
  if (open.has(path) || typeof EventSource === "undefined") return;
  const stream = new EventSource(`/v1${path}`);
  open.set(path, stream);
  const close = () => {
    stream.close();
    open.delete(path);
  };
  stream.addEventListener("progress", (event) => onProgress(JSON.parse(event.data)));
  stream.addEventListener("end", () => {
    close();
    onEnd();
  });
  stream.onerror = close; // polling goes on, and its next round tries to follow again
}

/** @param {string} prefix of paths that are not shown any more @param {string} kept one that still is */
export function unfollow(prefix, kept) {
  for (const [path, stream] of open) {
    if (path.startsWith(prefix) && path !== kept) {
      stream.close();
      open.delete(path);
    }
  }
}
