// aedes as a broker (MQTT 3.1.1 only): what it keeps for clients that are away is lost with the process.
const aedes = require("aedes")({ concurrency: 1000 });
const server = require("node:net").createServer(aedes.handle);
const say = (row) => process.stdout.write(JSON.stringify(row) + "\n");

server.listen(Number(process.argv[2]), "127.0.0.1", () => say({ event: "ready", port: server.address().port }));
process.stdin.on("end", () => process.exit(0)).resume();
