// Numbers and ages as a machinist reads them: few digits, steady width, the comma of the language.

import { LOCALES } from "./texts.js";

const formats = new Map();
const fractional = new Set(); // signals that have ever had a fraction: the others are shown as whole numbers

function fixed(language, decimals) {
  const key = language + decimals;
  if (!formats.has(key)) {
    formats.set(key, new Intl.NumberFormat(LOCALES[language], { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
  }
  return formats.get(key);
}

const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const minus = (text) => text.replace(/^-/, "−");

export function whole(n, language) {
  return minus(fixed(language, 0).format(n));
}

export function number(x, signal, language) {
  const size = Math.abs(x);
  if (!Number.isInteger(x)) fractional.add(signal);
  if (size !== 0 && (size < 1e-3 || size >= 1e9)) return scientific(x, language);
  if (!fractional.has(signal)) return whole(x, language);
  const decimals = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3;
  return minus(fixed(language, decimals).format(x));
}

function scientific(x, language) {
  const [digits, power] = x.toExponential(2).split("e");
  const raised = [...String(Number(power))].map((sign) => SUPERSCRIPT[sign]).join("");
  return `${minus(fixed(language, 2).format(Number(digits)))}×10${raised}`;
}

// Seconds as "12 s", "4 min", "2 h 05", "3 d": short, and it changes rarely.
export function age(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}`;
  return `${Math.floor(s / 86400)} d`;
}

export function clock(ms, language) {
  return new Date(ms).toLocaleTimeString(LOCALES[language], { hour12: false });
}
