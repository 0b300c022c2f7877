// node-opcua with alarms and a history: JSON lines on stdin, see tests/peers/test_opcua_memory.py.
const { OPCUAServer } = require("node-opcua-server");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { Variant, DataType } = require("node-opcua-variant");
const { DataValue } = require("node-opcua-data-value");
const { StatusCodes } = require("node-opcua-status-code");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const readline = require("node:readline");
const path = require("node:path");

const [port, folder] = [Number(process.argv[2]), process.argv[3]];
const say = (row) => process.stdout.write(JSON.stringify(row) + "\n");

async function main() {
  const server = new OPCUAServer({
    port,
    host: "127.0.0.1",
    serverCertificateManager: new OPCUACertificateManager({ rootFolder: path.join(folder, "pki"), automaticallyAcceptUnknownCertificate: true }),
    securityModes: [MessageSecurityMode.None],
    securityPolicies: [SecurityPolicy.None],
    disableDiscovery: true,
    nodeset_filename: [require("node-opcua-nodesets").nodesets.standard],
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  space.installAlarmsAndConditionsService();
  const namespace = space.getOwnNamespace(); // alarms can be made in no other
  const tank = namespace.addObject({ browseName: "Tank", organizedBy: space.rootFolder.objects, notifierOf: space.rootFolder.objects.server });
  const variable = (name) => {
    const made = namespace.addVariable({
      browseName: name, componentOf: tank, eventSourceOf: tank,
      dataType: DataType.Double, minimumSamplingInterval: 0, value: { dataType: DataType.Double, value: 0.5 },
    });
    made.setValueFromSource({ dataType: DataType.Double, value: 0.5 }, StatusCodes.Good, new Date(1700000000000));
    return made;
  };
  const nodes = { level: variable("level"), kept: variable("kept") };
  space.installHistoricalDataNode(nodes.kept, { maxOnlineValues: 10000 });
  namespace.instantiateNonExclusiveLimitAlarm("NonExclusiveLimitAlarmType", {
    browseName: "LevelAlarm", conditionName: "LevelAlarm", componentOf: tank, conditionSource: nodes.level, inputNode: nodes.level,
    lowLimit: 0.1, highLimit: 0.9, highHighLimit: 0.99, lowLowLimit: 0.01,
  });
  const write = ([name, value, ms]) =>
    nodes[name]._internal_set_dataValue(
      new DataValue({
        value: new Variant({ dataType: DataType.Double, value }), statusCode: StatusCodes.Good,
        sourceTimestamp: new Date(ms), sourcePicoseconds: 0, serverTimestamp: new Date(ms), serverPicoseconds: 0,
      }),
    );
  await server.start();
  say({ event: "ready", namespace: namespace.index });
  const commands = readline.createInterface({ input: process.stdin });
  commands.on("line", (line) => {
    const rows = JSON.parse(line);
    for (const row of rows) {
      if (row[0] === "event") tank.raiseEvent("BaseEventType", { message: { dataType: DataType.LocalizedText, value: { text: row[1] } }, severity: { dataType: DataType.UInt16, value: row[2] } });
      else write(row);
    }
    say({ done: rows.length });
  });
  commands.on("close", () => process.exit(0));
}

main().catch((error) => {
  process.stderr.write(String(error.stack) + "\n");
  process.exit(1);
});
