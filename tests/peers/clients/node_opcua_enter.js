// node-opcua as a client that signs in: url, user, password, then pairs of mode and policy; a JSON line for each.
const { OPCUAClient, UserTokenType } = require("node-opcua-client");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { AttributeIds } = require("node-opcua-data-model");

async function enter(url, userName, password, mode, policy, folder) {
  const manager = new OPCUACertificateManager({ rootFolder: folder, automaticallyAcceptUnknownCertificate: true });
  await manager.initialize();
  const client = OPCUAClient.create({
    applicationName: "enter", clientCertificateManager: manager, endpointMustExist: true, connectionStrategy: { maxRetry: 0 },
    defaultTransactionTimeout: 300000, transportTimeout: 300000,
    securityMode: MessageSecurityMode[mode], securityPolicy: SecurityPolicy[policy],
  });
  try {
    await client.connect(url);
    const session = await client.createSession({ type: UserTokenType.UserName, userName, password });
    const said = await session.read({ nodeId: "ns=0;i=2259", attributeId: AttributeIds.Value });
    await session.close();
    return { state: said.value.value };
  } catch (error) {
    return { error: String(error.message) };
  } finally {
    await client.disconnect();
  }
}

(async () => {
  const [folder, url, user, password, ...ways] = process.argv.slice(2);
  for (let n = 0; n < ways.length; n += 2) {
    process.stdout.write(JSON.stringify(await enter(url, user, password, ways[n], ways[n + 1], folder)) + "\n");
  }
  process.exit(0);
})();
