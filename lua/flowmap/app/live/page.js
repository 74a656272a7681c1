// The page asks for all runs every two seconds while it is visible, and for a curve when it has
// changed or is opened. Texts are set as text, never as HTML.

import { drawCurve, newCurve, digits, samplesFigure } from "/chart.js";

const EVERY = 2000, PATIENCE = 10000; // milliseconds: between questions, for an answer
const MOST_PICTURES = 4;
const by = (id) => document.getElementById(id);
const views = new Map(); // id of a run -> what shows it
let timer, failures = 0;

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  node.append(...children);
  return node;
}

// Leaving equal texts alone keeps selections, and screen readers silent.
function put(node, text) { if (node.textContent !== text) node.textContent = text; }

async function ask(path) {
  const stop = AbortSignal.timeout ? AbortSignal.timeout(PATIENCE) : undefined;
  const answer = await fetch(path, { signal: stop, cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: status ${answer.status}`);
  return answer.json();
}

// The same, again if there is no answer: a status is one.
async function askAgain(path) {
  for (let left = 3; ; left--) {
    try {
      return await ask(path);
    } catch (fault) {
      if (left === 0 || fault.message.includes("status")) throw fault;
      await new Promise((done) => setTimeout(done, EVERY));
    }
  }
}

// ------------------------------------------------------------------ curves

class Curve {
  constructor(id) {
    this.id = id;
    this.picture = newCurve();
    this.caption = el("figcaption", {}, "loss: no line yet");
    this.node = el("figure", {}, this.picture, this.caption);
    this.picture.style.display = "none";
    new ResizeObserver(() => this.draw()).observe(this.node);
  }
  draw() {
    if (this.data && this.data.points.length && this.node.clientWidth) drawCurve(this.picture, this.data);
  }
  async load(version) {
    if (this.version === version && this.data || this.busy) return;
    this.busy = true;
    try {
      this.data = await askAgain(`/curve/${this.id}.json`);
    } finally {
      this.busy = false;
    }
    this.version = version;
    const points = this.data.points;
    if (!points.length) return;
    this.picture.style.display = "";
    put(this.caption, `loss ${digits(points.at(-1)[1])} at step ${points.at(-1)[0].toLocaleString("en")}`);
    this.draw();
  }
}

// ------------------------------------------------------------------ one run

class Running {
  constructor(run) {
    this.curve = new Curve(run.id);
    this.text = el("p");
    this.bar = el("progress", { max: 1, "aria-label": `progress of ${run.name}` });
    this.facts = el("p", { class: "facts" });
    this.node = el("article", { class: "run" }, el("h3", {}, run.name), this.bar, this.text, this.facts,
      this.curve.node);
    by("running").append(this.node);
  }
  update(run) {
    put(this.text, run.text);
    put(this.facts, run.facts.join(" · "));
    if (run.part !== undefined) this.bar.value = run.part;
    this.curve.load(run.version).catch(() => {});
  }
}

class Ended {
  constructor(run) {
    this.words = el("span", { class: "state" });
    this.result = el("span", { class: "quiet" });
    this.text = el("p");
    this.facts = el("p", { class: "facts" });
    this.inner = el("div", {}, this.text, this.facts);
    this.box = el("details", {}, el("summary", {}, this.words, " ", el("span", {}, run.name), " ",
      this.result), this.inner);
    this.node = el("li", {}, this.box);
    this.box.addEventListener("toggle", () => this.open());
  }
  async open() {
    if (!this.box.open || this.shown) return;
    const curve = new Curve(this.run.id), pictures = el("div", { class: "samples" });
    this.shown = el("div", {}, curve.node, pictures);
    this.inner.append(this.shown);
    curve.load(0).catch(() => {});
    for (const N of this.run.N.slice(0, MOST_PICTURES)) {
      try {
        pictures.append(samplesFigure(await askAgain(`/samples/${this.run.id}-${N}.json`), N));
      } catch { /* this run keeps no samples that can be shown */ }
    }
  }
  update(run) {
    const written = run.facts.at(-1);
    if (this.shown && this.written !== written) { // it was continued while the page was hidden
      this.shown.remove();
      this.shown = undefined;
    }
    this.run = run;
    this.written = written;
    this.open();
    put(this.words, run.words);
    this.words.className = "state " + run.state;
    put(this.result, run.result ?? "");
    put(this.text, run.text === run.words || run.result ? "" : run.text);
    put(this.facts, run.facts.join(" · "));
  }
}

// ------------------------------------------------------------------ all runs

function forget(id) {
  views.get(id).node.remove();
  views.delete(id);
}

function filter() {
  const words = by("filter").value.toLowerCase();
  let shown = 0, all = 0;
  for (const view of views.values()) {
    if (view instanceof Running) continue;
    const hidden = !view.box.firstChild.textContent.toLowerCase().includes(words);
    view.node.hidden = hidden;
    all++;
    if (!hidden) shown++;
  }
  put(by("shown"), shown === all ? `${all} runs` : `${shown} of ${all} runs`);
}

function show(state) {
  const kindOf = (run) => run.state === "running" ? Running : Ended;
  const now = new Map(state.runs.map((run) => [run.id, kindOf(run)]));
  // Before any place in the list is remembered, which may be that of a run continued meanwhile.
  for (const [id, view] of [...views]) if (!(now.has(id) && view instanceof now.get(id))) forget(id);
  let place = by("ended").firstChild;
  for (const run of state.runs) {
    if (!views.has(run.id)) views.set(run.id, new (kindOf(run))(run));
    const view = views.get(run.id);
    view.update(run);
    if (view instanceof Ended) {
      if (view.node !== place) by("ended").insertBefore(view.node, place);
      else place = place.nextSibling;
    }
  }
  const running = state.runs.filter((run) => run.state === "running").length;
  by("none-running").hidden = running > 0;
  put(by("place"), `${state.summary} below ${state.place}`);
  put(by("machine"), state.machine);
  document.title = running ? `${running} running – flowmap` : "flowmap";
  filter();
}

// A single question without an answer may be a busy machine.
function connected(is) {
  failures = is ? 0 : failures + 1;
  if (failures === 1) return;
  by("connection").classList.toggle("lost", !is);
  if (is) put(by("connection"), "");
  else if (failures === 2)
    put(by("connection"), `No answer from ./flowmap serve since ${new Date().toLocaleTimeString()}: `
      + "what is shown is from before.");
}

async function poll() {
  clearTimeout(timer);
  try {
    show(await ask("/state.json"));
    connected(true);
  } catch (fault) {
    console.info("flowmap:", fault.message);
    connected(false);
  }
  if (!document.hidden) timer = setTimeout(poll, EVERY);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
by("filter").addEventListener("input", filter);
poll();
