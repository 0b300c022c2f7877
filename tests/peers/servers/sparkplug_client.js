// Eclipse Tahu's sparkplug-client as an edge node. Lines: first the births, then data; see tests/peers/edges.py.
const { newClient } = require("sparkplug-client");
const Long = require("long");
const readline = require("node:readline");

const say = (row) => process.stdout.write(JSON.stringify(row) + "\n");
const WIDE = ["Int64", "UInt64", "DateTime", "UInt32"];

function metric([name, type, value, alias]) {
  const made = { name, type, timestamp: Date.now(), value };
  if (value !== null && (type === "Bytes" || type === "File")) made.value = Buffer.from(value, "base64");
  if (value !== null && WIDE.includes(type)) made.value = Long.fromString(String(value), type !== "Int64");
  if (alias !== undefined && alias !== null) made.alias = alias;
  if (name === "Load") made.properties = { engUnit: { type: "String", value: "%" }, Quality: { type: "Int32", value: 192 } };
  return made;
}

let client;
let births;
let options;

function payload(rows) {
  return { timestamp: Date.now(), metrics: rows.map(metric) };
}

function birth() {
  client.publishNodeBirth(payload([["Node Control/Rebirth", "Boolean", false], ...births.node]), options);
  client.publishDeviceBirth("press", payload(births.device), options);
}

function start(line) {
  births = line.birth;
  options = line.compress ? { compress: true, algorithm: line.compress } : undefined;
  client = newClient({
    serverUrl: `mqtt://127.0.0.1:${line.port}`, username: "", password: "", groupId: "plant", edgeNode: line.node,
    clientId: `edge-${line.node}`, version: "spBv1.0", publishDeath: true, keepalive: 30,
  });
  client.on("ncmd", (command) => {
    if (command.metrics.some((each) => each.name === "Node Control/Rebirth" && each.value)) birth();
  });
  client.once("birth", () => {
    birth();
    say({ event: "born" });
  });
}

readline
  .createInterface({ input: process.stdin })
  .on("line", (text) => {
    const line = JSON.parse(text);
    if (line.birth) return start(line);
    if (line.node) client.publishNodeData(payload(line.node), options);
    if (line.device) client.publishDeviceData("press", payload(line.device), options);
    if (line.death) client.publishDeviceDeath("press", payload([]));
    return say({ done: 1 });
  })
  .on("close", () => {
    if (client) client.stop(); // and when that is said, nothing keeps this process
  });
say({ event: "ready" });
