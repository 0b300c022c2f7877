"""Units by their UN/CEFACT common code (UNECE Recommendation 20), as OPC UA wants them.

Not by symbol: fourteen symbols of the official table stand for more than one unit. The symbol is only for people.
"""

NAMESPACE = "http://www.opcfoundation.org/UA/units/un/cefact"

SYMBOLS = {
    "4H": "µm",
    "A97": "hPa",
    "AMP": "A",
    "B47": "kN",
    "BAR": "bar",
    "C16": "mm/s",
    "C26": "ms",
    "C62": "1",
    "CEL": "°C",
    "DD": "°",
    "E96": "°/s",
    "G53": "m³/min",
    "GRM": "g",
    "H81": "mm/min",
    "H87": "pc",
    "HTZ": "Hz",
    "HUR": "h",
    "KWH": "kW·h",
    "KWT": "kW",
    "L2": "l/min",
    "MMT": "mm",
    "NEW": "N",
    "NU": "N·m",
    "P1": "%",
    "RPM": "r/min",
    "SEC": "s",
    "VLT": "V",
    "WTT": "W",
}

# Where the code is cryptic and the symbol is unmistakable, the configuration shows the symbol.
PLAIN = {"AMP": "A", "BAR": "bar", "HTZ": "Hz", "KWT": "kW", "MMT": "mm", "P1": "%", "VLT": "V", "WTT": "W"}


def unit_id(code: str) -> int:
    """The EUInformation unitId: the code's ASCII bytes, big-endian (OPC UA Part 8, 5.6.4.2)."""
    return int.from_bytes(code.encode("ascii"), "big")


def config_text(code: str) -> str:
    """The unit as the collector's configuration writes it: a plain symbol where one is unmistakable, else the code."""
    return PLAIN.get(code, code)
