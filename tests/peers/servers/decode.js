// npm sparkplug-payload, what most JavaScript hosts decode with: base64 payloads on stdin, what they say on stdout.
const { get } = require("sparkplug-payload");
const Long = require("long");
const readline = require("node:readline");

const codec = get("spBv1.0");
const say = (row) => process.stdout.write(JSON.stringify(row) + "\n");

const plain = (value) => {
  if (Long.isLong(value)) return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  return value;
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  try {
    const read = codec.decodePayload(Buffer.from(JSON.parse(line), "base64"));
    const metrics = read.metrics.map((each) => ({ name: each.name, type: each.type, value: plain(each.value) ?? null }));
    say({ seq: plain(read.seq) ?? null, metrics });
  } catch (error) {
    say({ error: String(error) });
  }
});
say({ event: "ready" });
