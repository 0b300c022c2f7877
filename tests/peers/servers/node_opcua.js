// node-opcua as a server: three Doubles, written by JSON lines on stdin; see tests/peers/opcua.py for the words.
const { OPCUAServer } = require("node-opcua-server");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { Variant, DataType } = require("node-opcua-variant");
const { DataValue } = require("node-opcua-data-value");
const { StatusCodes } = require("node-opcua-status-code");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const readline = require("node:readline");
const path = require("node:path");

const [port, folder] = [Number(process.argv[2]), process.argv[3]];
const URI = "urn:test:peer";
const say = (row) => process.stdout.write(JSON.stringify(row) + "\n");

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
    serverCapabilities: { maxSessions: 100 },
    nodeset_filename: [require("node-opcua-nodesets").nodesets.standard],
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  const namespace = space.registerNamespace(URI);
  const nodes = {};
  for (const name of ["load", "speed", "temperature"]) {
    nodes[name] = namespace.addVariable({
      organizedBy: space.rootFolder.objects,
      browseName: name,
      nodeId: `s=${name}`,
      dataType: DataType.Double,
      minimumSamplingInterval: 0,
      value: { dataType: DataType.Double, value: 0 },
    });
    nodes[name].setValueFromSource({ dataType: DataType.Double, value: 0 }, StatusCodes.Good, new Date(1700000000000));
  }
  await server.start();
  say({ event: "ready", namespace: namespace.index });
  const commands = readline.createInterface({ input: process.stdin });
  commands.on("line", (line) => {
    const rows = JSON.parse(line);
    for (const [name, value, ms, picoseconds] of rows) {
      const bad = value === null;
      nodes[name]._internal_set_dataValue(
        new DataValue({
          value: new Variant(bad ? { dataType: DataType.Null } : { dataType: DataType.Double, value }),
          statusCode: bad ? StatusCodes.BadSensorFailure : StatusCodes.Good,
          sourceTimestamp: new Date(ms),
          sourcePicoseconds: picoseconds,
          serverTimestamp: new Date(ms),
          serverPicoseconds: 0,
        }),
      );
    }
    say({ done: rows.length });
  });
  commands.on("close", () => process.exit(0));
}

main().catch((error) => {
  process.stderr.write(String(error.stack) + "\n");
  process.exit(1);
});
