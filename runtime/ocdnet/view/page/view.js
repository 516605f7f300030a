import { Pictures, ask, json } from "./asking.js";
import { Stage, sample } from "./drawing.js";
import { Names } from "./names.js";

const ROLES = {
  label: ["Labels", "label"], found: ["Text that was found", "label"], missed: ["Missed text", "label"],
  ignored: ["Ignored text", "label"], region: ["Found by the model", "region"], right: ["Right detections", "region"],
  false: ["False alarms", "region"], unjudged: ["On ignored text", "region"], low: ["Below box_thresh", "region"],
};
const KEYS = [
  [["ArrowRight", "PageDown", "j"], "→ J", "next picture of the list (there also ↓)", () => step(1)],
  [["ArrowLeft", "PageUp", "k"], "← K", "previous picture", () => step(-1)],
  [["Home"], "Home", "first picture of the list", () => goTo(0)],
  [["End"], "End", "last picture of the list", () => goTo(names.total - 1)],
  [["n"], "N", "next picture with a mistake of the chosen kind, or of any", () => nextOfKind(1)],
  [["N"], "Shift N", "the same backwards", () => nextOfKind(-1)],
  [[".", "ArrowDown"], "↓ .", "next outline of this picture, mistakes first, near by", () => stepOutline(1)],
  [[",", "ArrowUp"], "↑ ,", "previous outline", () => stepOutline(-1)],
  [["l"], "L", "labels on or off", () => flip("label")],
  [["p"], "P", "predictions on or off", () => flip("region")],
  [["i"], "I", "ignored text on or off", () => flipRole("ignored")],
  [["w"], "W", "regions below box_thresh on or off", () => flipRole("low")],
  [["m"], "M", "probability map on or off", () => flipMap()],
  [["t"], "T", "texts and scores on or off", () => flipTexts()],
  [["+", "="], "+", "zoom in; the wheel does, too", () => stage.zoom(1.4)],
  [["-"], "−", "zoom out", () => stage.zoom(1 / 1.4)],
  [["0", "f"], "0 F", "whole picture", () => stage.fit()],
  [["g"], "G", "jump to a number", () => at("number").select()],
  [["/"], "/", "look for a name", () => at("name").select()],
  [["?"], "?", "these keys", () => at("help").showModal()],
  [["Escape"], "Esc", "no outline is chosen", () => choose(null)],
];
const MOST_ROWS = 300;
const at = (id) => document.getElementById(id);
const stage = new Stage(at("stage"));
const names = new Names(at("list"), at("rows"), (start, count) => list({ start, count }), (chosen) => run(() => show(chosen)));
const pictures = new Pictures();
const hidden = new Set(["low"]);
const on = { map: false, texts: false };
let set = null, number = 0, shapes = [], chosen = null, asking = null, typing = null;

/** Do what a key or a button is for; what goes wrong is said. */
const run = (does) => Promise.resolve(does()).catch((error) => error.name !== "AbortError" && trouble(error.message));
const filter = () => ({ mark: at("mark").value, name: at("name").value, order: at("worst").checked ? "worst" : "" });
const list = (more) => json("list", { ...filter(), ...more });

async function look() {
  try {
    const first = set === null, before = set;
    set = await json("set");
    tell();
    const ready = set.done && (!set.model || set.ready);
    if (first) await begin();
    else if (set.done !== before.done) {
      // How label lines are read is settled now; so are the counts.
      if (at("mark").value || at("worst").checked) await refilter(false);
      await show(number, true);
    } else if (set.ready !== before.ready) await show(number, true);
    if (!ready) setTimeout(look, 700);
  } catch (error) {
    at("state").textContent = error.message;
  }
}

function tell() {
  at("path").textContent = set.path;
  document.title = `${set.path.split("/").filter(Boolean).pop() || "/"}: OCDNet view`;
  at("what").textContent = set.what;
  at("total").textContent = `of ${set.pictures.toLocaleString("en")}`;
  const seen = set.done ? "" : `looked at ${set.seen.toLocaleString("en")} for the filters ...`;
  const model = !set.model ? "" : set.ready ? `model ${set.model}` : `model ${set.model} is being loaded ...`;
  at("state").textContent = [seen, model].filter(Boolean).join(" · ");
  const value = at("mark").value;
  const options = [["", "all pictures"], ...set.marks.map((one) => [one.mark, `${one.says} (${one.pictures.toLocaleString("en")})`])];
  at("mark").replaceChildren(...options.map(([mark, says]) => new Option(says, mark, false, mark === value)));
  at("worst-first").hidden = !set.marks.some((one) => one.mark === "mistakes");
}

async function begin() {
  at("number").max = set.pictures;
  number = Math.min(set.pictures, Math.max(1, Number(location.hash.slice(1)) || 1)) - 1;
  await refilter(false);
  await show(number);
}

/** The list anew; where the picture is not in it, its first one is shown if `moves`. */
async function refilter(moves = true) {
  const answer = await list({ start: 0, count: 200, of: number });
  names.reset(answer.total);
  at("matches").textContent = answer.total === set.pictures ? "" : `${answer.total.toLocaleString("en")} of ${set.pictures.toLocaleString("en")}`;
  names.keep(0, answer.rows);
  names.select(answer.place);
  if (answer.place === null && answer.total && moves) await show(answer.rows[0][0]);
}

async function goTo(place) {
  if (place < 0 || place >= names.total) return;
  const row = await names.row(place);
  if (row) await show(row[0], false, place);
}

async function step(by) {
  if (names.place !== null) await goTo(names.place + by);
  else await jump({ ...filter(), of: number, step: by });
}

async function nextOfKind(by) {
  const kind = chosen && chosen.kind ? `${chosen.role}:${chosen.kind}` : at("mark").value || "mistakes";
  await jump({ mark: kind, of: number, step: by });
}

async function jump(query) {
  const answer = await json("next", query);
  if (answer.number === null) at("about").textContent = "There is no other one of that kind in this direction.";
  else await show(answer.number);
}

async function show(wanted, again = false, place = undefined) {
  if (asking) asking.abort();
  const mine = asking = new AbortController();
  const moved = wanted !== number;
  number = wanted;
  at("number").value = number + 1;
  history.replaceState(null, "", `#${number + 1}`);
  if (moved && place === undefined) list({ count: 0, of: number }).then((answer) => mine === asking && names.select(answer.place), () => undefined);
  else if (place !== undefined) names.select(place);
  try {
    const [details, picture] = await Promise.all([json(`details/${number}`, {}, mine.signal), pictures.of(number, mine.signal)]);
    if (mine !== asking) return;
    at("problem").hidden = !picture.problem;
    at("problem").textContent = picture.problem || "";
    if (picture.problem) stage.clear();
    else stage.show(picture, !again);
    if (moved || !again) stage.map(null);
    describe(details, picture);
    await withModel(mine, picture);
    ahead();
  } catch (error) {
    if (error.name !== "AbortError") at("problem").textContent = error.message, at("problem").hidden = false;
  }
}

async function withModel(mine, picture) {
  if (!set.model || !set.ready || picture.problem) return;
  await new Promise((done) => setTimeout(done, 120));
  if (mine !== asking) return;
  if (set.predicted && !on.map) return;
  at("about").textContent = `${size(picture)} · the model looks at it ...`;
  try {
    // What a run found is not found anew: its model shows the map alone.
    if (!set.predicted) {
      const found = await json(`found/${number}`, {}, mine.signal);
      if (mine === asking) describe({ ...found, name: at("title").textContent }, picture);
    }
    if (on.map) {
      const blob = await (await ask(`map/${number}`, {}, mine.signal)).blob();
      if (mine === asking) stage.map(URL.createObjectURL(blob));
    }
  } catch (error) {
    if (error.name !== "AbortError") trouble(error.message);
  } finally {
    if (mine === asking) at("about").textContent = size(picture);
  }
}

/** Fetch what comes next in the list. */
async function ahead() {
  if (names.place === null || names.place + 1 >= names.total) return;
  const row = await names.row(names.place + 1);
  if (row) pictures.of(row[0]).catch(() => undefined);
}

const size = (picture) => (picture.problem ? "" : `${picture.width} × ${picture.height} pixels`);

function trouble(text) {
  at("trouble").textContent = text;
  at("trouble").hidden = !text;
}

function describe(details, picture) {
  at("title").textContent = details.name;
  at("about").textContent = size(picture);
  trouble(details.error);
  at("doubts").hidden = !details.doubts.length;
  at("doubts").replaceChildren(...details.doubts.map((text) => {
    const row = document.createElement("li");
    row.textContent = text;
    return row;
  }));
  const judged = details.labels && details.regions;
  const regions = (details.regions || []).map((one) => ({ ...one, role: one.role === "ignored" ? "unjudged" : one.role }));
  // Mistakes last: they are drawn over the rest.
  const weight = (one) => (one.role === "missed" || one.role === "false" ? 2 : ["ignored", "unjudged", "low"].includes(one.role) ? 0 : 1);
  shapes = [...(details.labels || []), ...regions].sort((one, other) => weight(one) - weight(other));
  chosen = null;
  const of = (side) => Object.keys(ROLES).filter((role) => ROLES[role][1] === side);
  const labels = judged ? ["found", "missed", "ignored"] : details.labels ? ["label", "ignored"] : [];
  const found = judged ? of("region").filter((role) => role !== "region") : details.regions ? ["region"] : [];
  switches([...labels, ...found]);
  outlines();
  draw();
}

function draw() {
  const seen = picked();
  const text = (shape) => (!on.texts ? "" : shape.text || (shape.score === null ? "" : shape.score.toFixed(2)));
  stage.draw(seen, text, (shape) => choose(shape, false));
  mark();
}

const picked = () => shapes.filter((shape) => !hidden.has(shape.role));

function switches(roles) {
  const rows = roles.map((role) => toggle(ROLES[role][0], { i: "ignored", w: "low" }, role));
  const map = set.model ? [simple("Probability map", "M", on.map, flipMap)] : [];
  at("switches").replaceChildren(...rows, simple("Texts and scores", "T", on.texts, flipTexts), ...map);
}

function toggle(says, keys, role) {
  const key = Object.keys(keys).find((one) => keys[one] === role) || "";
  const row = simple(says, key.toUpperCase(), !hidden.has(role), () => flipRole(role));
  row.firstChild.after(sample(role));
  const count = document.createElement("span");
  count.className = "count";
  count.textContent = shapes.filter((shape) => shape.role === role).length;
  row.append(count);
  return row;
}

function simple(says, key, checked, flipped) {
  const row = document.createElement("label");
  const box = document.createElement("input");
  Object.assign(box, { type: "checkbox", checked });
  box.addEventListener("change", flipped);
  row.append(box, says);
  if (key) {
    const shown = document.createElement("kbd");
    shown.textContent = key;
    row.append(shown);
  }
  return row;
}

function redraw() {
  const judged = [...at("switches").querySelectorAll(".sample .shape")].map((one) => one.classList[1]);
  switches(judged);
  outlines();
  draw();
}

function flipRole(role) {
  if (!hidden.delete(role)) hidden.add(role);
  redraw();
}

function flip(side) {
  const roles = Object.keys(ROLES).filter((role) => ROLES[role][1] === side && role !== "low");
  const show = roles.every((role) => hidden.has(role));
  for (const role of roles) show ? hidden.delete(role) : hidden.add(role);
  redraw();
}

function flipTexts() {
  on.texts = !on.texts;
  redraw();
}

function flipMap() {
  if (!set.model) return trouble("There is no map without a model: start the viewer with --model.");
  on.map = !on.map;
  redraw();
  if (on.map) withModel(asking, pictures.held(number));
  else stage.map(null);
}

const ordered = () => [...picked()].reverse();

function outlines() {
  const all = ordered();
  const rows = all.slice(0, MOST_ROWS).map((shape) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(sample(shape.role), sentence(shape));
    button.addEventListener("click", () => choose(shape));
    shape.button = button;
    const row = document.createElement("li");
    row.append(button);
    return row;
  });
  if (all.length > MOST_ROWS) {
    const row = document.createElement("li");
    row.textContent = `and ${all.length - MOST_ROWS} more`;
    rows.push(row);
  }
  at("outlines").replaceChildren(...rows);
}

function sentence(shape) {
  const kind = !shape.kind ? "" : shape.kind === "missed" ? ": no region there" : `: ${shape.kind.replaceAll("_", " ")}`;
  const one = { false: "false alarm", unjudged: "on ignored text", low: "below box_thresh" }[shape.role] || shape.role;
  const parts = [`${one}${kind}`];
  if (shape.text) parts.push(`“${shape.text}”`);
  if (shape.score !== null) parts.push(`score ${shape.score.toFixed(2)}`);
  if (shape.iou !== null) parts.push(`IoU ${shape.iou.toFixed(2)}`);
  return parts.join(", ");
}

function choose(shape, near = true) {
  chosen = shape === chosen && !near ? null : shape;
  if (chosen && near) stage.to(chosen.polygon);
  mark();
}

function mark() {
  for (const shape of shapes) {
    const is = shape === chosen;
    shape.group?.classList.toggle("chosen", is);
    shape.button?.setAttribute("aria-pressed", String(is));
    if (is) shape.button?.scrollIntoView({ block: "nearest" });
  }
}

function stepOutline(by) {
  const all = ordered();
  if (!all.length) return;
  const place = chosen ? all.indexOf(chosen) + by : by > 0 ? 0 : all.length - 1;
  choose(all[(place + all.length) % all.length]);
}

function listen() {
  at("bindings").replaceChildren(...KEYS.flatMap(([, shown, says]) => {
    const [term, meaning] = [document.createElement("dt"), document.createElement("dd")];
    term.append(...shown.split(" ").map((key) => Object.assign(document.createElement("kbd"), { textContent: key })));
    meaning.textContent = says;
    return [term, meaning];
  }));
  document.addEventListener("keydown", (event) => {
    const busy = event.ctrlKey || event.metaKey || event.altKey || at("help").open;
    if (busy || !set) return;
    if (event.target.matches("input:not([type=checkbox]), select")) {
      if (event.key === "Escape" || (event.key === "Enter" && event.target.id === "name")) event.target.blur();
      return;
    }
    if (event.shiftKey && event.key.startsWith("Arrow")) {
      const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
      stage.pan(...moves[event.key]);
      return event.preventDefault();
    }
    if (event.target === at("list") && ["ArrowUp", "ArrowDown"].includes(event.key)) {
      run(() => step(event.key === "ArrowUp" ? -1 : 1));
      return event.preventDefault();
    }
    const found = KEYS.find(([keys]) => keys.includes(event.key)) || KEYS.find(([keys]) => keys.includes(event.key.toLowerCase()));
    if (!found) return;
    event.preventDefault();
    run(found[3]);
  });
  const pressed = { previous: () => step(-1), next: () => step(1), in: () => stage.zoom(1.4), out: () => stage.zoom(1 / 1.4), fit: () => stage.fit(), ask: () => at("help").showModal() };
  for (const [id, does] of Object.entries(pressed)) at(id).addEventListener("click", () => run(does));
  at("number").addEventListener("change", () => {
    const wanted = Math.min(set.pictures, Math.max(1, Math.round(Number(at("number").value)) || 1));
    at("number").blur();
    run(() => show(wanted - 1));
  });
  for (const id of ["mark", "worst"]) at(id).addEventListener("change", () => { at(id).blur(); run(refilter); });
  at("name").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => run(refilter), 200);
  });
  addEventListener("hashchange", () => {
    const wanted = Number(location.hash.slice(1)) - 1;
    if (set && Number.isInteger(wanted) && wanted >= 0 && wanted < set.pictures && wanted !== number) run(() => show(wanted));
  });
}

listen();
look();
