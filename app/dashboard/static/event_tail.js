// Follows a stream of events of any kind. A browser's own reader of streams hands out only kinds that are known before.

/**
 * @param {string} path below /v1
 * @param {string} last id of the last event that is shown; the stream goes on after it
 * @param {(event: any) => void} onEvent
 * @param {AbortSignal} signal ends it
 * @returns {Promise<void>} until the stream ends or breaks
 */
export async function tail(path, last, onEvent, signal) {
  const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
  const response = await fetch(`/v1${path}`, { headers, signal });
  if (!response.ok || !response.body) throw new Error(`The stream of events answered ${response.status}.`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (text + value).split("\n\n");
    text = parts.pop() ?? "";
    for (const part of parts) {
      const data = dataOf(part);
      if (data) onEvent(JSON.parse(data));
    }
  }
}

/** @param {string} part lines of one event @returns {string} empty for a comment */
function dataOf(part) {
  return part
    .split("\n")
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(line.startsWith("data: ") ? 6 : 5))
    .join("\n");
}
