// node-opcua as a server: three Doubles, written by JSON lines on stdin; see tests/peers/opcua.py for the words.
const { OPCUAServer } = require("node-opcua-server");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { Variant, DataType } = require("node-opcua-variant");
const { DataValue } = require("node-opcua-data-value");
const { StatusCodes, ConstantStatusCode } = require("node-opcua-status-code");
const { StatusChangeNotification } = require("node-opcua-service-subscription");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const readline = require("node:readline");
const path = require("node:path");

const [port, folder] = [Number(process.argv[2]), process.argv[3]];
const URI = "urn:test:peer";
const options = process.argv[4] ? JSON.parse(process.argv[4]) : {};
const say = (row) => process.stdout.write(JSON.stringify(row) + "\n");

const limits = (most) => ({ maxNodesPerRead: most, maxMonitoredItemsPerCall: most });
const stamp = (ms) => (ms === null ? null : new Date(ms));

function dataValue(value, ms, picoseconds, { type = "Double", status, source = ms, server = ms }) {
  const bad = value === null;
  return new DataValue({
    value: new Variant(bad ? { dataType: DataType.Null } : { dataType: DataType[type], value }),
    statusCode: status !== undefined ? new ConstantStatusCode({ name: "Told", description: "as told", value: status }) : bad ? StatusCodes.BadSensorFailure : StatusCodes.Good,
    sourceTimestamp: stamp(source),
    sourcePicoseconds: picoseconds,
    serverTimestamp: stamp(server),
    serverPicoseconds: 0,
  });
}

async function main() {
  const manager = new OPCUACertificateManager({ rootFolder: path.join(folder, "pki"), automaticallyAcceptUnknownCertificate: true });
  const server = new OPCUAServer({
    port,
    host: "127.0.0.1",
    serverCertificateManager: manager,
    securityModes: [MessageSecurityMode.None, MessageSecurityMode.SignAndEncrypt],
    securityPolicies: [SecurityPolicy.None, SecurityPolicy.Basic256Sha256],
    allowAnonymous: true,
    userManager: { isValidUser: (user, password) => user === "reader" && password === "right" },
    disableDiscovery: true,
    maxConnectionsPerEndpoint: 100,
    serverCapabilities: { maxSessions: 100, operationLimits: limits(options.limit || 0) },
    defaultSecureTokenLifetime: options.lifetime,
    nodeset_filename: [require("node-opcua-nodesets").nodesets.standard],
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  const names = ["load", "speed", "temperature"];
  for (let number = 0; number < (options.shift || 0); number++) {
    const other = space.registerNamespace(`urn:test:other:${number}`);
    const wrong = { organizedBy: space.rootFolder.objects, dataType: DataType.Double, value: { dataType: DataType.Double, value: -1 } };
    for (const name of names) other.addVariable({ ...wrong, browseName: name, nodeId: `s=${name}` });
  }
  const namespace = space.registerNamespace(URI);
  const nodes = {};
  const add = (name, kind = "Double") => {
    nodes[name] = namespace.addVariable({
      organizedBy: space.rootFolder.objects,
      browseName: name,
      nodeId: `s=${name}`,
      dataType: kind === "Any" ? "Number" : DataType.Double,
      minimumSamplingInterval: 0,
      value: { dataType: DataType.Double, value: 0 },
    });
    write([[name, kind === "Any" ? null : 0, 1700000000000, 0]]);
  };
  const write = (rows) => {
    for (const [name, value, ms, picoseconds, more = {}] of rows) nodes[name]._internal_set_dataValue(dataValue(value, ms, picoseconds, more));
    return rows.length;
  };
  const end = (silently) => {
    const engines = Object.values(server.engine._sessions).map((session) => session.publishEngine);
    for (const engine of [...engines, server.engine._orphanPublishEngine]) {
      for (const subscription of Object.values(engine?._subscriptions || {})) {
        if (!silently) subscription._addNotificationMessage(new StatusChangeNotification({ status: StatusCodes.BadTimeout }));
        subscription.terminate();
      }
    }
  };
  const does = {
    remove: (wish) => (space.deleteNode(nodes[wish.name]), 0),
    add: (wish) => add(wish.name, wish.kind), end: (wish) => end(wish.silently),
  };
  for (let number = 0; number < (options.more || 0); number++) names.push(`v${number}`);
  for (const name of names) add(name);
  await server.start();
  say({ event: "ready", namespace: namespace.index });
  const commands = readline.createInterface({ input: process.stdin });
  commands.on("line", (line) => {
    const wish = JSON.parse(line);
    say({ done: Array.isArray(wish) ? write(wish) : does[wish.do](wish) || 0 });
  });
  commands.on("close", () => process.exit(0));
}

main().catch((error) => {
  process.stderr.write(String(error.stack) + "\n");
  process.exit(1);
});
