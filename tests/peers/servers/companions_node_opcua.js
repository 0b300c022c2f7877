// node-opcua with companion specifications: a variable with a made-up value of every structure and union in them.
// What each value holds goes to stdout, field by field; see tests/peers/test_opcua_companions.py.
const { OPCUAServer } = require("node-opcua-server");
const { DataType, VariantArrayType, Variant } = require("node-opcua-variant");
const { StructureType } = require("node-opcua-types");
const { lowerFirstLetter } = require("node-opcua-utils");
const { resolveNodeId } = require("node-opcua-nodeid");
const path = require("node:path");
const fs = require("node:fs");

const [port, seed, folders] = [Number(process.argv[2]), Number(process.argv[3]), process.argv.slice(4)];
const UA = "http://opcfoundation.org/UA/";
const DEEPEST = 2;
const MOST = 200;

// Published nodesets of these folders, each namespace once, those that others build upon first.
function nodesets() {
  const found = new Map();
  for (const folder of folders) {
    for (const name of fs.readdirSync(folder).filter((one) => /nodeset2?\.xml$/i.test(one)).sort()) {
      const head = fs.readFileSync(path.join(folder, name), "utf8").slice(0, 20000);
      const uri = /<Model\s[^>]*ModelUri="([^"]+)"/.exec(head)?.[1];
      const needs = [...head.matchAll(/<RequiredModel\s[^>]*ModelUri="([^"]+)"/g)].map((match) => match[1]);
      if (uri && !found.has(uri)) found.set(uri, { file: path.join(folder, name), needs });
    }
  }
  const ordered = [];
  const add = (uri, above = []) => {
    if (!found.has(uri) || above.includes(uri)) return found.has(uri);
    const { file, needs } = found.get(uri);
    if (!needs.every((need) => add(need, [...above, uri]))) return false;
    if (!ordered.includes(file)) ordered.push(file);
    return true;
  };
  for (const uri of [UA, ...found.keys()]) add(uri);
  return ordered;
}

let state = seed;
function random() {
  state = (state + 0x6d2b79f5) | 0; // mulberry32
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const below = (n) => Math.floor(random() * n);
const text = () => ["", "a", "Ångström", "x y/z", "机床"][below(5)] + below(1000);

// By built-in type: what the library takes, and what it says of it.
const PLAIN = {
  Boolean: () => same(below(2) === 1),
  SByte: () => same(below(256) - 128),
  Byte: () => same(below(256)),
  Int16: () => same(below(65536) - 32768),
  UInt16: () => same(below(65536)),
  Int32: () => same(below(4294967296) - 2147483648),
  UInt32: () => same(below(4294967296)),
  Int64: () => wide(below(4294967296), below(4294967296), 64),
  UInt64: () => wide(below(4294967296), below(4294967296), 0),
  Float: () => same(below(100000) / 64 - 500),
  Double: () => same(below(1e9) / 1024 - 1e5),
  String: () => same(text()),
  DateTime: () => ((ms) => ({ js: new Date(ms), said: ms }))(1.7e12 + below(1e9)),
  Guid: () => same("72962B91-FA75-4AE6-8D28-B404DC7DAF63"),
  ByteString: () => ((bytes) => ({ js: bytes, said: bytes.toString("hex") }))(Buffer.from(text(), "utf8")),
  XmlElement: () => same(`<a>${below(10)}</a>`),
  NodeId: () => ((n) => ({ js: resolveNodeId(`ns=1;i=${n}`), said: n }))(below(60000) + 300),
  ExpandedNodeId: () => PLAIN.NodeId(),
  StatusCode: () => ({ js: require("node-opcua-status-code").StatusCodes.BadSensorFailure, said: 0x808c0000 }),
  QualifiedName: () => ((t) => ({ js: { namespaceIndex: 0, name: t }, said: t }))(text()),
  LocalizedText: () => ((t) => ({ js: { text: t, locale: "en" }, said: t }))(text()),
};
const same = (value) => ({ js: value, said: value });
function wide(high, low, signed) {
  const whole = (BigInt(high) << 32n) | BigInt(low);
  return { js: [high, low], said: String(signed ? BigInt.asIntN(64, whole) : whole) };
}

class Maker {
  constructor(space) {
    this.space = space;
    this.structure = space.findDataType("Structure");
    this.enumeration = space.findDataType("Enumeration");
  }

  // Fields with those of the types above. late: optional, and so was one of a type above; the library numbers its bit wrongly.
  fields(type) {
    const above = type.subtypeOfObj;
    const inherited = !above || above === this.structure || above.browseName.name === "Union" ? [] : this.fields(above);
    const twice = inherited.some(({ field }) => field.isOptional);
    const said = (type.getStructureDefinition().fields ?? []).filter((one) => !inherited.some(({ field }) => field.name === one.name));
    return [...inherited, ...said.map((field) => ({ field, late: twice && field.isOptional }))];
  }

  // A value of this structure, and its leaves as [path, built-in type, value]; at most MOST parts.
  whole(type) {
    this.left = MOST;
    return this.make(type, "", 0);
  }

  make(type, where, depth) {
    if ((this.left -= 1) < 0) throw new Error("too big");
    const definition = type.getStructureDefinition();
    const union = [StructureType.Union, StructureType.UnionWithSubtypedValues].includes(definition.structureType);
    const subtyped = [StructureType.StructureWithSubtypedValues, StructureType.UnionWithSubtypedValues].includes(definition.structureType);
    if (subtyped) throw new Error("subtyped values");
    const fields = this.fields(type);
    const chosen = union ? fields[below(fields.length)].field : null;
    const options = {};
    const leaves = [];
    for (const { field, late } of fields) {
      const optional = definition.structureType === StructureType.StructureWithOptionalFields && field.isOptional;
      const left = optional && (below(2) || depth > DEEPEST || late);
      if ((union && field !== chosen) || left) continue;
      const made = this.field(field, `${where}.${field.name}`, depth);
      options[lowerFirstLetter(field.name)] = made.js;
      leaves.push(...made.leaves);
    }
    return { js: this.space.constructExtensionObject(type, options), leaves };
  }

  field(field, where, depth) {
    const type = this.space.findDataType(field.dataType.isEmpty() ? "BaseDataType" : field.dataType);
    if (!type) throw new Error(`no type ${field.dataType}`);
    if (field.name === "ValueRank") return { js: -1, leaves: [[where, "Int32", -1]] }; // the library wants these two to agree
    if (field.name === "ArrayDimensions") return { js: [], leaves: [] };
    if (field.valueRank > 1) throw new Error(`rank ${field.valueRank}`);
    if (field.valueRank < 1) return this.cell(type, where, depth);
    const count = depth > DEEPEST ? 0 : below(depth ? 2 : 3);
    const made = [...Array(count).keys()].map((n) => this.cell(type, `${where}[${n}]`, depth));
    return { js: made.map((one) => one.js), leaves: made.flatMap((one) => one.leaves) };
  }

  cell(type, where, depth) {
    if (type.browseName.name === "BaseDataType" || type.browseName.name === "Number") return this.variant(where);
    if (type.isSubtypeOf(this.structure)) {
      const concrete = type.isAbstract ? this.below(type) : type;
      if (depth > DEEPEST + 2) throw new Error("too deep");
      if (!concrete) return { js: null, leaves: [] };
      return this.make(concrete, where, depth + 1);
    }
    if (type.isSubtypeOf(this.enumeration)) return this.chosen(type, where);
    const name = DataType[type.getBasicDataType()];
    if (name === "DiagnosticInfo") return { js: null, leaves: [] };
    const bits = /^UInt|^Byte$/.test(name) && type.browseName.name !== name ? this.bits(type) : [];
    if (bits.length) return this.flag(bits, name, where);
    if (/^UInt32$|^UInt16$/.test(name) && type.browseName.name !== name && type.nodeId.namespace === 0) return { js: 1, leaves: [[where, name, 1]] };
    if (!PLAIN[name]) throw new Error(`type ${type.browseName.name}`);
    const { js, said } = PLAIN[name]();
    return { js, leaves: [[where, name, said]] };
  }

  variant(where) {
    if (below(2)) {
      const { js, said } = PLAIN.Double();
      return { js: new Variant({ dataType: DataType.Double, value: js }), leaves: [[where, "Double", said]] };
    }
    const cells = [PLAIN.String(), PLAIN.String()];
    const js = new Variant({ dataType: DataType.String, arrayType: VariantArrayType.Array, value: cells.map((cell) => cell.js) });
    return { js, leaves: cells.map((cell, n) => [`${where}[${n}]`, "String", cell.said]) };
  }

  chosen(type, where) {
    const known = type.getEnumDefinition().fields ?? [];
    if (!known.length) return { js: 1, leaves: [[where, "Int32", 1]] };
    const one = known[below(known.length)];
    const number = Array.isArray(one.value) ? one.value[1] | 0 : Number(one.value);
    return { js: number, leaves: [[where, "Int32", number], [`${where}.text`, "Name", [one.displayName?.text, one.name].filter(Boolean)]] };
  }

  bits(type) {
    try {
      return type.getEnumDefinition().fields ?? [];
    } catch {
      return []; // a number by another name
    }
  }

  // One bit of an option set: the library takes no others than those that have a name.
  flag(bits, name, where) {
    const number = 2 ** Number(bits[below(bits.length)].value[1] ?? 0);
    return name === "UInt64" ? { js: [0, number], leaves: [[where, name, String(number)]] } : { js: number, leaves: [[where, name, number]] };
  }

  // A structure that may stand for an abstract one: the first that can be made here.
  below(type) {
    return [...everything(this.space)].find((one) => !one.isAbstract && one !== type && one.isSubtypeOf(type) && one.browseName.name !== type.browseName.name && this.simple(one));
  }

  simple(type) {
    return type.getStructureDefinition().fields?.every((field) => PLAIN[DataType[this.space.findDataType(field.dataType)?.getBasicDataType()]]);
  }
}

function* everything(space) {
  for (const namespace of space.getNamespaceArray()) yield* namespace._dataTypeIterator();
}

async function main() {
  const files = nodesets();
  const server = new OPCUAServer({ port, host: "127.0.0.1", nodeset_filename: files, securityModes: [1], securityPolicies: ["None"] });
  await server.initialize();
  const space = server.engine.addressSpace;
  const own = space.registerNamespace("urn:test:companions");
  const maker = new Maker(space);
  const [cases, unable] = [[], []];
  for (const type of everything(space)) {
    if (!type.isSubtypeOf(maker.structure) || type.isAbstract) continue;
    const name = `v${cases.length}`;
    const uri = space.getNamespaceUri(type.nodeId.namespace);
    try {
      const { js, leaves } = maker.whole(type);
      own.addVariable({ organizedBy: space.rootFolder.objects, browseName: name, nodeId: `s=${name}`, dataType: type, value: { dataType: DataType.ExtensionObject, value: js } });
      cases.push([name, uri, type.browseName.name, leaves]);
    } catch (error) {
      unable.push([uri, type.browseName.name, String(error.message).slice(0, 200)]);
    }
  }
  process.stdin.resume();
  process.stdin.on("end", async () => {
    await server.shutdown(0);
    process.exit(0);
  });
  await server.start();
  process.stdout.write(JSON.stringify({ event: "ready", files: files.length, cases, unable }) + "\n");
}

main().catch((error) => {
  process.stderr.write(String(error.stack || error) + "\n");
  process.exit(1);
});
