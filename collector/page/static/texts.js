// Every word of the page, in both languages: one table, so that none is forgotten.

export const TEXTS = {
  en: {
    title: "Shop floor", skip: "To the machines", machines: "Machines", sources: "Sources", sinks: "Storage",
    books: "Accounted for", language: "Language", waiting: "Waiting for the collector …",
    noMachines: "No machines yet. They appear here as soon as the first one is configured or speaks.",
    cutOff: "No contact with the collector.",
    cutOffSince: (age) => `What you see is ${age} old. Is the collector still running?`,
    signal: "Signal", value: "Value", age: "Age", noValue: "no value", noValues: "No values yet",
    valuesOf: (name) => `Last values of ${name}`, more: (n) => `and ${n} more signals`, moreMachines: (n) => `and ${n} more machines`,
    todo: "What to do:", since: (age) => `for ${age}`, old: "stale", lastGood: "last good value",
    connectedOf: (ok, all) => `${ok} of ${all} connected`, none: "none",
    all: "all values", missing: (n) => `${n} not accounted for`, unknown: "not known",
    pending: (n) => `${n} waiting`, upToDate: "up to date",
    level: { ok: "Connected", busy: "Connecting", lost: "Connection lost", attention: "Needs attention", off: "Stopped", unknown: "No source" },
    quality: { good: "good", uncertain: "uncertain", bad: "bad" },
    on: "on", off: "off", samples: "samples", now: "now",
    flags: { time_substituted: "time by the collector", retained: "retained message", historical: "delivered late", derived: "calculated", heartbeat: "read again, unchanged", shifted: "time moved by 1 ns" },
    spoken: (name, level) => `${name}: ${level}`,
  },
  nl: {
    title: "Werkvloer", skip: "Naar de machines", machines: "Machines", sources: "Bronnen", sinks: "Opslag",
    books: "Verantwoord", language: "Taal", waiting: "Wachten op de collector …",
    noMachines: "Nog geen machines. Ze verschijnen hier zodra de eerste is ingesteld of iets zegt.",
    cutOff: "Geen contact met de collector.",
    cutOffSince: (age) => `Wat u ziet is ${age} oud. Draait de collector nog?`,
    signal: "Signaal", value: "Waarde", age: "Leeftijd", noValue: "geen waarde", noValues: "Nog geen waarden",
    valuesOf: (name) => `Laatste waarden van ${name}`, more: (n) => `en nog ${n} signalen`, moreMachines: (n) => `en nog ${n} machines`,
    todo: "Wat te doen:", since: (age) => `al ${age}`, old: "verouderd", lastGood: "laatste goede waarde",
    connectedOf: (ok, all) => `${ok} van ${all} verbonden`, none: "geen",
    all: "alle waarden", missing: (n) => `${n} niet verantwoord`, unknown: "niet bekend",
    pending: (n) => `${n} in de wacht`, upToDate: "bijgewerkt",
    level: { ok: "Verbonden", busy: "Verbinden", lost: "Verbinding verbroken", attention: "Vraagt aandacht", off: "Gestopt", unknown: "Geen bron" },
    quality: { good: "goed", uncertain: "onzeker", bad: "slecht" },
    on: "aan", off: "uit", samples: "meetpunten", now: "nu",
    flags: { time_substituted: "tijd van de collector", retained: "bewaard bericht", historical: "later bezorgd", derived: "berekend", heartbeat: "opnieuw gelezen, onveranderd", shifted: "tijd 1 ns verschoven" },
    spoken: (name, level) => `${name}: ${level}`,
  },
};

export const LOCALES = { en: "en-GB", nl: "nl-BE" };
