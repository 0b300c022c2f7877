// node-opcua (in .peers): DataChangeNotifications as hexadecimal lines on stdin, what it reads in them as JSON on stdout.
const { BinaryStream } = require("node-opcua-binary-stream");
const { decodeDataValue } = require("node-opcua-data-value");

function floats(value) {
    const bits = Buffer.alloc(8);
    bits.writeDoubleBE(value);
    return "x" + bits.toString("hex");
}

function shown(value, type, array) {
    if (value === null || value === undefined) return null;
    if (array) {
        // an array of 64-bit integers is an array of pairs, one of numbers may be a typed array
        return Array.from(value, (cell) => shown(cell, type, false));
    }
    if (type === 8) return String(BigInt.asIntN(64, (BigInt(value[0]) << 32n) | BigInt(value[1])));
    if (type === 9) return String((BigInt(value[0]) << 32n) | BigInt(value[1]));
    if (type === 10 || type === 11) return floats(value);
    if (type === 1) return value ? "True" : "False";
    if (type === 14) return value.toLowerCase();
    if (type === 19) return String(value.value);
    if (type === 21) return value.text === undefined ? null : value.text;
    return String(value);
}

function microseconds(date, picoseconds) {
    return date ? date.getTime() * 1000 + Math.floor(picoseconds / 1000000) : null;
}

const lines = require("readline").createInterface({ input: process.stdin });
lines.on("line", (line) => {
    const stream = new BinaryStream(Buffer.from(line, "hex"));
    const rows = [];
    for (let left = stream.readInteger(); left > 0; left--) {
        const handle = stream.readUInt32();
        const item = decodeDataValue(stream);
        const kind = item.value ? item.value.dataType : 0;
        rows.push({
            handle,
            value: item.value ? shown(item.value.value, kind, item.value.arrayType !== 0) : null,
            status: item.statusCode.value,
            source: microseconds(item.sourceTimestamp, item.sourcePicoseconds),
            server: microseconds(item.serverTimestamp, item.serverPicoseconds),
        });
    }
    process.stdout.write(JSON.stringify(rows) + "\n");
});
