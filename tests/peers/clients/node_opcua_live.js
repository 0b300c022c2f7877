// node-opcua as an operator: alarms as its own alarm list has them, Acknowledge, a setting, raw history; one JSON line.
const { OPCUAClient, installAlarmMonitoring, uninstallAlarmMonitoring } = require("node-opcua-client");
const { AttributeIds } = require("node-opcua-data-model");
const { DataType } = require("node-opcua-variant");

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function write(session, nodeId, dataType, value) {
  const [status] = await session.write([{ nodeId, attributeId: AttributeIds.Value, value: { value: { dataType, value } } }]);
  return status.name;
}

async function main(url, setting, remembered, from, to) {
  const client = OPCUAClient.create({ endpointMustExist: false, connectionStrategy: { maxRetry: 1 }, defaultTransactionTimeout: 300000, transportTimeout: 300000 });
  await client.connect(url);
  const session = await client.createSession();
  const list = await installAlarmMonitoring(session);
  for (let n = 0; n < 12000 && list.length < 2; n++) await pause(10);
  const told = () => list.alarms().map((alarm) => {
    const f = alarm.fields;
    return {
      name: f.conditionName.value, source: f.sourceName.value, active: f.activeState.id.value, acked: f.ackedState.id.value,
      severity: f.severity.value, retain: f.retain.value, time: f.time.value.toISOString(), message: f.message.value.text,
    };
  }).sort((a, b) => (a.name < b.name ? -1 : 1));
  const alarms = told();
  const jam = list.alarms().find((alarm) => alarm.fields.conditionName.value === "PartStuck");
  const acknowledged = (await session.acknowledgeCondition(jam.conditionId, jam.eventId, "seen")).name;
  for (let n = 0; n < 12000 && !list.alarms().find((each) => each.fields.conditionName.value === "PartStuck" && each.fields.ackedState.id.value); n++) await pause(10);
  const after = told();
  const written = [await write(session, setting, DataType.Float, 50), await write(session, setting, DataType.Float, 500), await write(session, setting, DataType.Double, 50)];
  const history = await session.readHistoryValue(remembered, new Date(from), new Date(to));
  const values = history.historyData.dataValues.map((data) => [data.sourceTimestamp.toISOString(), data.value.value]);
  await uninstallAlarmMonitoring(session);
  await session.close();
  await client.disconnect();
  process.stdout.write(JSON.stringify({ alarms, acknowledged, after, written, values }) + "\n");
}

main(...process.argv.slice(2));
