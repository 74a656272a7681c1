// Pictures: the curve of a loss as SVG, samples on a canvas. Texts are set as text, never as HTML.

const NS = "http://www.w3.org/2000/svg";
const LEFT = 56, RIGHT = 12, TOP = 10, BOTTOM = 24; // margins in pixels, for the labels

function svg(name, attributes, text) {
  const node = document.createElementNS(NS, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (text !== undefined) node.textContent = text;
  return node;
}

export function digits(x) {
  const size = Math.abs(x);
  return size >= 1e5 || size > 0 && size < 1e-3 ? x.toExponential(Math.abs(x) < 1 ? 2 : 3)
    .replace(/\.?0+e/, "e").replace("e+", "e") : Number(x.toPrecision(4)).toString();
}

// Round numbers from low to high, at most five; of a single value, that value.
function ticks(low, high, log) {
  if (low === high) return [low];
  const list = [];
  if (log) {
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++)
      for (const m of [1, 2, 5]) list.push(m * 10 ** e);
  } else {
    const raw = (high - low) / 4, power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((m) => m * power >= raw);
    for (let k = Math.ceil(low / step); k * step <= high; k++) list.push(k * step);
  }
  const inside = list.filter((x) => x >= low && x <= high);
  const each = Math.ceil(inside.length / 5);
  return inside.filter((_, k) => k % each === 0);
}

function scale(low, high, log, from, to) {
  const of = log ? Math.log : (x) => x, span = of(high) - of(low) || 1;
  return (x) => from + (to - from) * (of(x) - of(low)) / span;
}

// Draw a curve { points: [[step, loss], ...], steps } into an SVG element of the page.
export function drawCurve(root, curve) {
  const width = Math.max(160, root.clientWidth), height = Math.max(100, root.clientHeight);
  const losses = curve.points.map((p) => p[1]);
  const low = Math.min(...losses), high = Math.max(...losses);
  const log = low > 0 && high > 4 * low;
  const last = Math.max(curve.steps, curve.points.at(-1)[0], 1);
  const x = scale(0, last, false, LEFT, width - RIGHT);
  const y = scale(low, high, log, height - BOTTOM, TOP);
  const nodes = [svg("title", {}, `Loss from ${digits(losses[0])} to ${digits(losses.at(-1))}, `
    + `between ${digits(low)} and ${digits(high)}, in ${curve.points.at(-1)[0]} of ${last} steps`)];
  for (const value of ticks(low, high, log)) {
    nodes.push(svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    nodes.push(svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, digits(value)));
  }
  for (const [part, anchor] of [[0, "start"], [0.5, "middle"], [1, "end"]])
    nodes.push(svg("text", { x: x(part * last), y: height - 6, "text-anchor": anchor },
      part === 0 ? "0" : Math.round(part * last).toLocaleString("en") + (part === 1 ? " steps" : "")));
  nodes.push(svg("polyline", { class: "curve", points: curve.points.map((p) =>
    x(p[0]).toFixed(1) + "," + y(p[1]).toFixed(1)).join(" ") }));
  nodes.push(svg("circle", { class: "dot", r: 3, cx: x(curve.points.at(-1)[0]), cy: y(losses.at(-1)) }));
  root.setAttribute("viewBox", `0 0 ${width} ${height}`);
  root.replaceChildren(...nodes);
}

export function newCurve() { return svg("svg", { role: "img" }); }

function drawPoints(canvas, count, values) {
  const size = 240, pen = (canvas.width = canvas.height = size, canvas.getContext("2d"));
  const reach = values.map(Math.abs).sort((a, b) => a - b)[Math.floor(0.99 * values.length)] * 1.1 || 1;
  pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--curve");
  for (let k = 0; k < count; k++)
    pen.fillRect(size / 2 * (1 + values[2 * k] / reach), size / 2 * (1 - values[2 * k + 1] / reach), 1.5, 1.5);
}

function drawImages(canvas, [count, height, width, channels], values) {
  const row = Math.min(4, count);
  canvas.width = row * width;
  canvas.height = Math.ceil(count / row) * height;
  canvas.style.width = Math.max(canvas.width, 240) + "px";
  const pen = canvas.getContext("2d");
  for (let k = 0; k < count; k++) {
    const image = pen.createImageData(width, height);
    for (let p = 0; p < width * height; p++) {
      for (let c = 0; c < 3; c++)
        image.data[4 * p + c] = values[(k * width * height + p) * channels + Math.min(c, channels - 1)];
      image.data[4 * p + 3] = 255;
    }
    pen.putImageData(image, (k % row) * width, Math.floor(k / row) * height);
  }
}

// A figure with samples { shape, values } of the sampler with N steps.
export function samplesFigure(it, N) {
  const figure = document.createElement("figure"), canvas = document.createElement("canvas");
  const caption = document.createElement("figcaption"), count = it.shape[0];
  const words = `${count} ${it.shape.length === 2 ? "samples" : "images"} at N = ${N}`;
  if (it.shape.length === 2) drawPoints(canvas, count, it.values);
  else drawImages(canvas, it.shape, it.values);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", words);
  caption.textContent = words;
  figure.append(canvas, caption);
  return figure;
}
