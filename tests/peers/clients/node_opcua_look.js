// node-opcua as a client: everything below Objects, browsed and read, a JSON line per server.
const { OPCUAClient } = require("node-opcua-client");
const { BrowseDirection } = require("node-opcua-data-model");
const { AttributeIds } = require("node-opcua-data-model");
const { resolveNodeId } = require("node-opcua-nodeid");

const HIERARCHICAL = resolveNodeId("i=33");
const SERVER = "ns=0;i=2253";

async function browse(session, nodes) {
  const wishes = nodes.map((nodeId) => ({
    nodeId, referenceTypeId: HIERARCHICAL, includeSubtypes: true, browseDirection: BrowseDirection.Forward, resultMask: 63, nodeClassMask: 0,
  }));
  return session.browse(wishes);
}

async function main(url) {
  const client = OPCUAClient.create({ endpointMustExist: false, connectionStrategy: { maxRetry: 1 }, defaultTransactionTimeout: 300000, transportTimeout: 300000 });
  await client.connect(url);
  const session = await client.createSession();
  const uris = await session.readNamespaceArray();
  const rows = [];
  const known = new Set(["ns=0;i=85", SERVER]);
  let level = [{ id: resolveNodeId("i=85"), path: "" }];
  while (level.length) {
    const found = [];
    const results = await browse(session, level.map((each) => each.id));
    results.forEach((result, n) => {
      for (const each of result.references) {
        if (known.has(each.nodeId.toString())) continue;
        known.add(each.nodeId.toString());
        const path = `${level[n].path}/${each.browseName.name}`.replace(/^\//, "");
        const type = each.typeDefinition;
        found.push({ id: each.nodeId, path });
        rows.push({
          id: each.nodeId, path, uri: uris[each.browseName.namespaceIndex], class: each.nodeClass, type: [uris[type.namespace], type.value], value: null,
        });
      }
    });
    level = found;
  }
  const variables = rows.filter((row) => row.class === 2);
  const said = await session.read(variables.map((row) => ({ nodeId: row.id, attributeId: AttributeIds.Value })));
  for (const [n, data] of said.entries()) {
    const value = data.value && data.value.value;
    variables[n].value = ["boolean", "number", "string"].includes(typeof value) ? value : String(value);
  }
  for (const row of rows) { delete row.id; row.class = { 1: "Object", 2: "Variable", 4: "Method" }[row.class]; }
  process.stdout.write(JSON.stringify({ rows }) + "\n");
  await session.close();
  await client.disconnect();
}

(async () => { for (const url of process.argv.slice(2)) await main(url); })();
