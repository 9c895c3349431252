// Draws with Plotly in the colours of the page, and again when the reader changes between light and dark.

import { h } from "./dom.js";

/** Okabe and Ito's colours, which stay apart for colour-blind readers. The first is drawn in the ink of the page. */
const LINES = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07d00", "#56b4e9", "#6f6f6f"],
  dark: ["#56b4e9", "#ff8c42", "#2fc79c", "#e39ac3", "#f0b341", "#9ad1f5", "#b5b5b5"],
};
const CONFIG = { displaylogo: false, displayModeBar: false, responsive: true, scrollZoom: false };

/** @typedef {{ink: string, quiet: string, line: string, card: string, prior: string, chosen: string, cap: string, lines: string[]}} Theme */
/** @typedef {(theme: Theme) => {data: object[], layout: object}} Build */

/** @type {Promise<any>|undefined} */
let bundle;
/** @type {Map<HTMLElement, Build>} */
const drawn = new Map();
const dark = matchMedia("(prefers-color-scheme: dark)");

/** @returns {Promise<any>} Plotly, loaded when the first chart needs it */
function plotly() {
  bundle ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = document.body.dataset.plotly ?? "";
    script.onload = () => resolve(globalThis["Plotly"]);
    script.onerror = () => {
      bundle = undefined;
      reject(new Error("The drawing library could not be loaded; the numbers stand in the tables."));
    };
    document.head.append(script);
  });
  return bundle;
}

/** @returns {Theme} the colours that the style sheet holds now */
function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: colour("ink"),
    quiet: colour("quiet"),
    line: colour("line"),
    card: colour("card"),
    prior: colour("prior"),
    chosen: colour("chosen"),
    cap: colour("cap"),
    lines: dark.matches ? LINES.dark : LINES.light,
  };
}

/**
 * @param {string} label what the chart shows, for those who do not see it
 * @param {number} height in pixels
 * @returns {HTMLElement} an empty place for :func:`draw`
 */
export function place(label, height) {
  const element = h("div.plot", { role: "img", "aria-label": label });
  element.style.height = `${height}px`;
  return element;
}

/**
 * @param {HTMLElement} element from :func:`place`
 * @param {Build} build
 * @param {(customdata: any) => void} [onPick] a point was clicked
 */
export async function draw(element, build, onPick) {
  let library;
  try {
    library = await plotly();
  } catch (error) {
    element.replaceChildren(h("p.notice.bad", {}, error.message));
    element.style.height = "";
    return;
  }
  for (const old of drawn.keys()) {
    if (!old.isConnected) {
      library.purge(old);
      drawn.delete(old);
    }
  }
  if (!element.isConnected) return; // a newer answer replaced it while the library loaded
  drawn.set(element, build);
  await render(library, element, build);
  if (onPick) /** @type {any} */ (element).on("plotly_click", (event) => onPick(event.points[0]?.customdata));
}

/** @param {any} library @param {HTMLElement} element @param {Build} build */
async function render(library, element, build) {
  const colours = theme();
  const { data, layout } = build(colours);
  await library.react(element, data, { ...base(colours), ...layout }, CONFIG);
}

dark.addEventListener("change", async () => {
  const library = await plotly();
  for (const [element, build] of drawn) {
    if (element.isConnected) await render(library, element, build);
  }
});

/** @param {Theme} colours */
function base(colours) {
  const font = { family: "system-ui, sans-serif", size: 13, color: colours.ink };
  return {
    font,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: colours.card, bordercolor: colours.line, font, align: "left" },
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", xanchor: "left", font: { ...font, size: 12 } },
    dragmode: false,
  };
}

/**
 * @param {Theme} colours
 * @param {string} title
 * @param {object} [more]
 * @returns {object} a quiet axis
 */
export function axis(colours, title, more = {}) {
  return {
    title: { text: plain(title), font: { size: 12, color: colours.quiet }, standoff: 8 },
    gridcolor: colours.line,
    zeroline: false,
    linecolor: colours.line,
    tickfont: { size: 12, color: colours.ink },
    automargin: true,
    fixedrange: true,
    ...more,
  };
}

/**
 * An axis of names. Positions are numbers, so that two names that look alike once cut stay two.
 * @param {Theme} colours
 * @param {string[]} names from top to bottom
 */
export function nameAxis(colours, names) {
  return axis(colours, "", {
    tickvals: names.map((_, i) => i),
    ticktext: names.map((name) => plain(name.length > 26 ? `${name.slice(0, 25)}…` : name)),
    range: [names.length - 0.5, -0.5],
    showgrid: false,
    ticks: "outside",
    ticklen: 6,
    tickcolor: "rgba(0,0,0,0)",
  });
}

/** @param {string} text @returns {string} the text itself: Plotly reads a little markup in what it draws */
export function plain(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
