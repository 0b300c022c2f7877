// One tile per machine. Everything that comes from outside goes in as textContent: names, units and topics are hostile.

import { age, number, whole } from "./format.js";
import { said } from "./said.js";
import { TEXTS } from "./texts.js";

export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A name may break after its separators and before its capitals (MeltTemperature), not in the middle of a word.
function putName(element, name) {
  if (element.dataset.name === name) return;
  element.dataset.name = name;
  element.replaceChildren(...name.split(/(?<=[_./:])|(?<=\p{Ll})(?=\p{Lu})/u).flatMap((part) => [part, document.createElement("wbr")]));
}

export class Tile {
  constructor(key) {
    this.rows = new Map();
    this.element = make("section", "tile");
    this.element.setAttribute("aria-labelledby", `machine-${key}`);
    this.head = this.element.appendChild(make("div", "tile-head"));
    const names = this.head.appendChild(make("div", "names"));
    this.label = names.appendChild(make("h2"));
    this.label.id = `machine-${key}`;
    this.id = names.appendChild(make("p", "id"));
    this.simulated = names.appendChild(make("p", "simulated"));
    this.badge = this.head.appendChild(make("p", "badge"));
    this.icon = this.badge.appendChild(make("span", "icon"));
    const words = this.badge.appendChild(make("span", "words"));
    this.state = words.appendChild(make("span", "state"));
    this.since = words.appendChild(make("span", "since"));
    this.trouble = this.element.appendChild(make("div", "trouble"));
    this.error = this.trouble.appendChild(make("p", "error"));
    this.remedy = this.trouble.appendChild(make("p", "remedy"));
    this.buildTable(key);
    this.more = this.element.appendChild(make("p", "more"));
  }

  buildTable(key) {
    this.scroll = this.element.appendChild(make("div", "scroll"));
    this.scroll.tabIndex = 0;
    this.scroll.setAttribute("role", "region");
    const table = this.scroll.appendChild(make("table"));
    this.caption = table.appendChild(make("caption", "heard"));
    this.caption.id = `values-${key}`;
    this.scroll.setAttribute("aria-labelledby", this.caption.id);
    const head = table.appendChild(make("thead")).appendChild(make("tr"));
    this.heads = ["signal", "value", "age"].map((name) => {
      const cell = head.appendChild(make("th", name));
      cell.scope = "col";
      return [name, cell];
    });
    this.body = table.appendChild(make("tbody"));
  }

  paint(machine, language) {
    const text = TEXTS[language];
    const { connection } = machine;
    this.machine = machine;
    this.element.dataset.level = this.icon.dataset.level = connection.level;
    put(this.label, machine.label);
    put(this.id, machine.label === machine.id ? "" : machine.id);
    put(this.simulated, machine.simulated ? text.simulated : "");
    put(this.state, text.level[connection.level]);
    this.trouble.hidden = !connection.error && !connection.remedy;
    put(this.error, said(connection.error, language));
    put(this.remedy, connection.remedy ? `${text.todo} ${said(connection.remedy, language)}` : "");
    put(this.caption, text.valuesOf(machine.label));
    for (const [name, cell] of this.heads) put(cell, text[name]);
    put(this.more, machine.signals.size === 0 ? text.noValues : machine.more_signals ? text.more(whole(machine.more_signals, language)) : "");
    this.scroll.hidden = machine.signals.size === 0;
  }

  // words: what the signal is called, if anybody calls it anything.
  paintSignal(signal, words, language) {
    if (!this.rows.has(signal.id)) {
      const row = new Row();
      this.rows.set(signal.id, row);
      this.body.appendChild(row.element);
    }
    this.rows.get(signal.id).paint(signal, language);
    this.rows.get(signal.id).paintName(signal, words, language);
  }

  // Ages count up here, between two messages of the collector. now: ms, by the collector's clock.
  tick(now, language) {
    const since = this.machine.connection.since;
    put(this.since, since === null ? "" : TEXTS[language].since(age((now - since) / 1000)));
    for (const row of this.rows.values()) row.tick(now);
  }
}

class Row {
  constructor() {
    this.element = make("tr");
    this.name = this.element.appendChild(make("th"));
    this.name.scope = "row";
    this.called = this.name.appendChild(make("span", "called"));
    this.own = this.name.appendChild(make("span", "own"));
    const cell = this.element.appendChild(make("td", "value"));
    const reading = cell.appendChild(make("span", "reading"));
    this.value = reading.appendChild(make("span", "figure"));
    this.unit = reading.appendChild(make("span", "unit"));
    this.marks = cell.appendChild(make("span", "marks"));
    this.age = this.element.appendChild(make("td", "age"));
  }

  paint(signal, language) {
    const text = TEXTS[language];
    const good = signal.last_good;
    const missing = signal.value === null;
    this.at = missing && good ? good.at : signal.at;
    put(this.value, missing ? (good ? shown(good.value, signal, language) : "–") : shown(signal.value, signal, language));
    put(this.unit, missing && good ? good.unit : missing ? "" : signal.unit);
    this.element.className = [missing ? "missing" : "", signal.stale ? "stale" : "", signal.quality].join(" ").trim();
    this.element.dataset.kind = signal.kind;
    this.paintMarks(signal, text, missing, good);
  }

  // What it is called stands first, and the name under which it is stored below it, where that says something else.
  paintName(signal, words, language) {
    const label = words?.label || signal.name;
    const said = folded(label) === folded(signal.name);
    putName(this.called, label);
    putName(this.own, said ? "" : signal.name);
    this.own.hidden = said;
    const about = [words?.description, extentOf(words?.range, signal, language), label === signal.name ? "" : TEXTS[language].stored(signal.name)];
    this.name.title = about.filter(Boolean).join("\n");
  }

  paintMarks(signal, text, missing, good) {
    const marks = [];
    if (signal.quality !== "good") marks.push([signal.quality, text.quality[signal.quality]]);
    else if (missing) marks.push(["bad", text.noValue]);
    if (missing && good) marks.push(["note", text.lastGood]);
    else if (signal.stale) marks.push(["old", text.old]); // the last good value is old, or it would not be shown
    const wanted = marks.map(([, word]) => word).join("|");
    if (wanted !== this.marked) {
      this.marks.replaceChildren(...marks.map(([kind, word]) => make("span", `mark ${kind}`, word)));
      this.marked = wanted;
    }
    const flags = signal.flags.map((flag) => text.flags[flag] ?? flag);
    this.element.title = [signal.quality === "good" ? "" : signal.quality_name, ...flags].filter(Boolean).join(", ");
  }

  tick(now) {
    put(this.age, age((now - this.at) / 1000));
  }
}

const folded = (name) => name.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");

function extentOf(range, signal, language) {
  if (!range) return "";
  const [low, high] = range.map((end) => (end === null ? null : number(end, `${signal.id} range`, language)));
  return TEXTS[language].range(low, high, signal.unit).trim();
}

function shown(value, signal, language) {
  const text = TEXTS[language];
  if (value === null) return text.noValue;
  if (typeof value === "boolean") return value ? text.on : text.off;
  if (typeof value === "number") return number(value, signal.id, language);
  if (typeof value === "string") return value;
  const extent = value.min === null ? "" : `${number(value.min, signal.id, language)} … ${number(value.max, signal.id, language)}, `;
  return `${extent}${whole(value.count, language)} ${text.samples}`;
}
