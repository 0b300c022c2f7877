// The page: takes the snapshot and the changes of /api/events, keeps the picture, paints what changed.

import { age, clock, whole } from "./format.js";
import { said } from "./said.js";
import { TEXTS } from "./texts.js";
import { Tile, make, put } from "./tiles.js";

const SILENCE = 9000; // ms without a word (the collector speaks every 3 s) until we say that contact is lost
const $ = (id) => document.getElementById(id);

const picture = { machines: new Map() };
const tiles = new Map();
let language = remembered() ?? (navigator.language.toLowerCase().startsWith("nl") ? "nl" : "en");
let offset = 0; // ms, the collector's clock minus ours
let heard = 0; // ms of performance.now(), the last word of the collector
let stream;

function remembered() {
  try {
    const kept = localStorage.getItem("language");
    return kept in TEXTS ? kept : null;
  } catch {
    return null; // storage may be forbidden; the choice then lasts until the page is closed
  }
}

function choose(chosen) {
  language = chosen;
  try {
    localStorage.setItem("language", chosen);
  } catch {
    // see remembered()
  }
  paintAll();
}

const collectorNow = () => Date.now() + offset;

function listen() {
  stream = new EventSource("/api/events");
  stream.addEventListener("snapshot", (event) => hear(event, replace));
  stream.addEventListener("change", (event) => hear(event, merge));
  stream.addEventListener("heartbeat", (event) => hear(event, () => {}));
  stream.addEventListener("error", () => {
    setContact(false);
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 3000); // refused: the browser gives up, we do not
  });
}

function hear(event, take) {
  const message = JSON.parse(event.data);
  offset = message.now - Date.now();
  heard = performance.now();
  take(message);
  setContact(true);
  tick();
}

function replace(snapshot) {
  picture.machines.clear();
  tiles.clear();
  $("machines").replaceChildren();
  merge(snapshot);
  paintAll();
}

function merge(change) {
  const { machines = [], ...rest } = change;
  Object.assign(picture, rest);
  for (const machine of machines) mergeMachine(machine);
  if (change.words) paintNames();
  paintFacts();
}

function mergeMachine(part) {
  const before = picture.machines.get(part.key);
  const signals = before?.signals ?? new Map();
  for (const signal of part.signals) signals.set(signal.id, signal);
  picture.machines.set(part.key, { ...part, signals });
  const tile = tileOf(part.key);
  tile.paint(picture.machines.get(part.key), language);
  for (const signal of part.signals) tile.paintSignal(signal, picture.words?.[signal.id], language);
  if (before && before.connection.level !== part.connection.level) speak(part);
}

// Somebody calls signals something else than before.
function paintNames() {
  for (const [key, machine] of picture.machines) {
    for (const signal of machine.signals.values()) tileOf(key).rows.get(signal.id)?.paintName(signal, picture.words[signal.id], language);
  }
}

function tileOf(key) {
  if (!tiles.has(key)) {
    tiles.set(key, new Tile(key));
    $("machines").append(tiles.get(key).element);
  }
  return tiles.get(key);
}

function speak(machine) {
  const text = TEXTS[language];
  put($("spoken"), text.spoken(machine.label, text.level[machine.connection.level]));
}

// lines: [level, words] each, with an icon of its own.
function fact(id, level, lines) {
  const element = $(id);
  const wanted = level + lines.join("|");
  if (element.dataset.shown === wanted) return;
  element.dataset.shown = wanted;
  element.dataset.level = level;
  element.querySelector("dd").replaceChildren(...lines.map(factLine));
}

function factLine([level, words]) {
  const line = make("span", "line");
  const icon = line.appendChild(make("span", "icon"));
  icon.dataset.level = level;
  line.append(words);
  return line;
}

function worst(jobs) {
  const order = ["unknown", "ok", "busy", "off", "lost", "attention"];
  return jobs.reduce((level, job) => (order.indexOf(job.level) > order.indexOf(level) ? job.level : level), "unknown");
}

const connected = (jobs) => jobs.filter((job) => job.level === "ok").length;

function paintFacts() {
  const text = TEXTS[language];
  const { sources = [], sinks = [], unaccounted = null } = picture;
  const machines = [...picture.machines.values()];
  const one = (id, level, words) => fact(id, level, [[level, words]]);
  const count = (id, jobs) => one(id, worst(jobs), jobs.length ? text.connectedOf(connected(jobs), jobs.length) : text.none);
  count("fact-machines", machines.map((machine) => machine.connection));
  count("fact-sources", sources);
  fact("fact-sinks", worst(sinks), sinks.length ? sinks.map((sink) => [sink.level, sinkWords(sink)]) : [["unknown", text.none]]);
  if (unaccounted === null) one("fact-books", "unknown", text.unknown);
  else if (unaccounted === 0) one("fact-books", "ok", text.all);
  else one("fact-books", "attention", text.missing(whole(unaccounted, language)));
  put($("empty"), picture.more_machines ? text.moreMachines(picture.more_machines) : heard ? text.noMachines : text.waiting);
  $("empty").hidden = machines.length > 0 && !picture.more_machines;
  paintNotices(text, [...[...sinks, ...(picture.services ?? [])].filter((job) => job.error && job.level !== "ok").map((job) => jobNotice(text, job)), ...bufferNotices(text)]);
}

// What is not known (the books closed) is not said: "up to date" needs a connection and nothing waiting.
function sinkWords(sink) {
  const text = TEXTS[language];
  const words = [];
  if (sink.level !== "ok") words.push(text.level[sink.level].toLowerCase());
  if (sink.pending) words.push(text.pending(whole(sink.pending, language)));
  else if (sink.level === "ok") words.push(sink.pending === 0 ? text.upToDate : text.level.ok.toLowerCase());
  return `${sink.name}: ${words.join(", ")}`;
}

// Sources tell their trouble on the tiles of their machines; databases and services have no tile. notices: [level, words] each.
function paintNotices(text, notices) {
  const wanted = notices.map((one) => one.join("|")).join("||") + language;
  if ($("notices").dataset.shown === wanted) return;
  $("notices").dataset.shown = wanted;
  $("notices").replaceChildren(...notices.map(notice));
}

const sentence = (words) => (/[.!?…]$/u.test(words) ? words : `${words}.`);
const jobNotice = (text, job) => [job.level, `${job.name}: ${sentence(said(job.error, language))}${job.remedy ? ` ${text.todo} ${sentence(said(job.remedy, language))}` : ""}`];

// Days before it matters, and only while somebody holds the buffer up.
function bufferNotices(text) {
  const { full_in: seconds = null, held_by: names = [], condition = "" } = picture.buffer ?? {};
  const found = condition ? [["attention", text.bufferIs(said(condition, language))]] : [];
  if (seconds === null) return found;
  const held = names.join(", ");
  return [...found, seconds > 0 ? ["lost", text.fullIn(age(seconds), held)] : ["attention", text.fullNow(held)]];
}

function notice([level, words]) {
  const element = make("div", "notice");
  element.dataset.level = level;
  element.append(make("span", "icon"), make("p", "", words));
  element.firstChild.dataset.level = level;
  return element;
}

function paintAll() {
  const text = TEXTS[language];
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) put(element, text[element.dataset.text]);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", text[element.dataset.label]);
  for (const button of document.querySelectorAll("[data-language]")) button.setAttribute("aria-pressed", String(button.dataset.language === language));
  for (const [key, machine] of picture.machines) {
    tileOf(key).paint(machine, language);
    for (const signal of machine.signals.values()) tileOf(key).paintSignal(signal, picture.words?.[signal.id], language);
  }
  paintFacts();
  paintTitle();
  tick();
}

function setContact(there) {
  if (document.body.classList.contains("cut-off") === !there) return;
  document.body.classList.toggle("cut-off", !there);
  $("cut-off").hidden = there;
  paintTitle();
}

function paintTitle() {
  const text = TEXTS[language];
  document.title = document.body.classList.contains("cut-off") ? `⚠ ${text.cutOff}` : text.title;
}

function tick() {
  const now = collectorNow();
  put($("clock"), heard ? clock(now, language) : "");
  for (const tile of tiles.values()) tile.tick(now, language);
  if (heard) put($("cut-off-since"), TEXTS[language].cutOffSince(age((performance.now() - heard) / 1000)));
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => choose(button.dataset.language));
}
setInterval(() => {
  if (heard && performance.now() - heard > SILENCE) setContact(false);
  tick();
}, 1000);
paintAll();
listen();
