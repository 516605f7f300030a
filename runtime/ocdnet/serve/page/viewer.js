"use strict";

const SVG = "http://www.w3.org/2000/svg";
const POLL_MS = 500;
const at = (id) => document.getElementById(id);
let turn = 0;
const urls = { picture: null, json: null };

function say(text, bad = false) {
  at("state").textContent = text;
  at("state").classList.toggle("bad", bad);
}

function renew(name, content) {
  if (urls[name]) URL.revokeObjectURL(urls[name]);
  urls[name] = URL.createObjectURL(content);
  return urls[name];
}

function sentence(error) {
  const parts = [error.message];
  if (error.expected) parts.push(`Expected: ${[].concat(error.expected).join(", ")}`);
  if (error.hint) parts.push(error.hint);
  return parts.join("\n");
}

async function detect(file) {
  const mine = ++turn;
  at("result").hidden = true;
  say(`Looking for text in ${file.name || "the picture"} ...`);
  const began = performance.now();
  let answer, response;
  try {
    response = await fetch("detect", { method: "POST", body: file });
    answer = await response.json();
  } catch {
    if (mine === turn) say("The server does not answer.", true);
    return;
  }
  if (mine !== turn) return;
  if (!response.ok) {
    say(sentence(answer.error), true);
    return;
  }
  answer.image = file.name || null;
  const seconds = ((performance.now() - began) / 1000).toFixed(2);
  const count = answer.regions.length;
  say(`${count} region${count === 1 ? "" : "s"} of text, ${answer.width} x ${answer.height} pixels, ${seconds} s`);
  show(file, answer);
}

function show(file, answer) {
  const picture = at("picture");
  picture.onerror = () => {
    // A format that this browser can't show: the outlines stand on a plain ground.
    picture.onerror = null;
    const svg = `<svg xmlns="${SVG}" width="${answer.width}" height="${answer.height}"/>`;
    picture.src = renew("picture", new Blob([svg], { type: "image/svg+xml" }));
  };
  picture.src = renew("picture", file);
  const json = JSON.stringify(answer, null, 1);
  at("download").href = renew("json", new Blob([json], { type: "application/json" }));
  at("download").download = `${(file.name || "picture").replace(/\.[^.]*$/, "")}.json`;
  draw(answer);
  at("result").hidden = false;
}

function draw(answer) {
  const boxes = at("boxes");
  boxes.replaceChildren();
  boxes.setAttribute("viewBox", `0 0 ${answer.width} ${answer.height}`);
  at("regions").replaceChildren();
  const size = Math.max(answer.width, answer.height) / 55;
  answer.regions.forEach((region, index) => {
    const score = region.score.toFixed(2);
    const shape = outline(region, score, size);
    const row = entry(region, score, index);
    const choose = (on) => {
      shape.classList.toggle("chosen", on);
      row.setAttribute("aria-pressed", String(on));
      if (on) boxes.append(shape);
    };
    for (const [part, on, off] of [[row, "focus", "blur"], [row, "mouseenter", "mouseleave"], [shape, "mouseenter", "mouseleave"]]) {
      part.addEventListener(on, () => choose(true));
      part.addEventListener(off, () => choose(document.activeElement === row));
    }
    shape.addEventListener("click", () => row.focus());
    boxes.append(shape);
    const item = document.createElement("li");
    item.append(row);
    at("regions").append(item);
  });
}

function outline(region, score, size) {
  const group = document.createElementNS(SVG, "g");
  for (const name of ["casing", "line"]) {
    const polygon = document.createElementNS(SVG, "polygon");
    polygon.setAttribute("points", region.polygon.map((point) => point.join(",")).join(" "));
    polygon.setAttribute("class", name);
    group.append(polygon);
  }
  const text = document.createElementNS(SVG, "text");
  const top = Math.min(...region.polygon.map((point) => point[1]));
  text.setAttribute("x", Math.min(...region.polygon.map((point) => point[0])));
  text.setAttribute("y", Math.max(size, top - size / 3));
  text.setAttribute("font-size", size);
  text.setAttribute("stroke-width", size / 5);
  text.textContent = score;
  group.append(text);
  return group;
}

function entry(region, score, index) {
  const row = document.createElement("button");
  const [x, y] = region.polygon[0].map(Math.round);
  row.type = "button";
  row.textContent = `${index + 1}. score ${score} at ${x}, ${y}`;
  row.setAttribute("aria-pressed", "false");
  return row;
}

function take(files) {
  if (files && files.length) detect(files[0]);
}

async function tellModel() {
  try {
    const health = await (await fetch("health")).json();
    at("model").textContent = `Model ${health.model}, ocdnet ${health.version}`;
    if (health.status !== "ready") {
      say("The model is being loaded ...");
      setTimeout(tellModel, POLL_MS);
    } else if (turn === 0) {
      say("");
    }
  } catch {
    say("The server does not answer.", true);
  }
}

at("file").addEventListener("change", () => {
  take(at("file").files);
  at("file").value = "";
});
for (const name of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files);
  });
}
document.addEventListener("paste", (event) => take(event.clipboardData.files));
tellModel();
