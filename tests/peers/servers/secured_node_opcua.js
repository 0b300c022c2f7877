// node-opcua as a machine with companion specifications, security, a user and structures; see tests/peers/test_opcua_secured.py.
const { OPCUAServer } = require("node-opcua-server");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { DataType, VariantArrayType } = require("node-opcua-variant");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { UserTokenType } = require("node-opcua-types");
const path = require("node:path");
const fs = require("node:fs");

const [port, folder] = [Number(process.argv[2]), process.argv[3]];
const { nodesets } = require("node-opcua-nodesets");
const CNC = "http://opcfoundation.org/UA/CNC";

async function main() {
  const manager = new OPCUACertificateManager({ rootFolder: path.join(folder, "pki"), automaticallyAcceptUnknownCertificate: true });
  const server = new OPCUAServer({
    port,
    host: "127.0.0.1",
    serverCertificateManager: manager,
    securityModes: [MessageSecurityMode.SignAndEncrypt],
    securityPolicies: [SecurityPolicy.Basic256Sha256],
    allowAnonymous: false,
    userManager: { isValidUser: (user, password) => user === "reader" && password === "right" },
    nodeset_filename: [nodesets.standard, nodesets.di, nodesets.ia, nodesets.machinery, nodesets.cnc, nodesets.isa95JobControl],
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  const own = space.registerNamespace("urn:test:secured");
  const machines = space.rootFolder.objects.getFolderElementByName("Machines", space.getNamespaceIndex("http://opcfoundation.org/UA/Machinery/"));
  const press = own.addObject({ organizedBy: machines || space.rootFolder.objects, browseName: "Press", nodeId: "s=Press" });
  own.addVariable({ componentOf: press, browseName: "Load", nodeId: "s=load", dataType: "Double", value: { dataType: DataType.Double, value: 12.5 } });
  const structured = (name, dataType, value) =>
    own.addVariable({ componentOf: press, browseName: name, nodeId: `s=${name}`, dataType, value: { dataType: DataType.ExtensionObject, value } });
  const position = space.findDataType("CncPositionDataType", space.getNamespaceIndex(CNC));
  structured("position", position, space.constructExtensionObject(position, { actPos: 1.5, cmdPos: 2.5, remDist: -1 }));
  const span = space.findDataType("Range");
  structured("span", span, space.constructExtensionObject(span, { low: 0, high: 250 }));
  const ISA = "http://opcfoundation.org/UA/ISA95-JOBCONTROL_V2/";
  const order = space.findDataType("ISA95JobOrderDataType", space.getNamespaceIndex(ISA));
  const parameter = space.findDataType("ISA95ParameterDataType", space.getNamespaceIndex(ISA));
  const jobs = [
    space.constructExtensionObject(order, { jobOrderID: "J-1", priority: 3, jobOrderParameters: [space.constructExtensionObject(parameter, { ID: "speed", value: { dataType: DataType.Double, value: 12.5 } })] }),
    space.constructExtensionObject(order, { jobOrderID: "J-2" }),
  ];
  own.addVariable({
    componentOf: press,
    browseName: "jobs",
    nodeId: "s=jobs",
    dataType: order,
    valueRank: 1,
    value: { dataType: DataType.ExtensionObject, arrayType: VariantArrayType.Array, value: jobs },
  });
  process.stdin.resume();
  process.stdin.on("end", async () => {
    await server.shutdown(0);
    process.exit(0);
  });
  await server.start();
  process.stdout.write(JSON.stringify({ event: "ready" }) + "\n");
}

main().catch((error) => {
  process.stderr.write(String(error.stack || error) + "\n");
  process.exit(1);
});
