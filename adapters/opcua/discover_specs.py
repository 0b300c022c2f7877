"""Companion specifications by the URI of their namespace: what a machine says about itself in the words of its trade.

A namespace that a server has loaded is only a promise; the report says how many of its objects are of a type from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_UA: Final = "http://opcfoundation.org/UA/"

SPECIFICATIONS: Final[Mapping[str, str]] = {
    f"{_UA}DI/": "Devices (OPC 10000-100)",
    f"{_UA}IA/": "Industrial Automation (OPC 10000-200)",
    f"{_UA}ADI/": "Analyser Devices (OPC 10020)",
    f"{_UA}AutoID/": "AutoID (OPC 30010)",
    f"{_UA}PackML/": "PackML (OPC 30050)",
    f"{_UA}TMC/": "Tobacco Machines (OPC 30060)",
    f"{_UA}MTConnect/": "MTConnect (OPC 30070)",
    f"{_UA}MTConnect/v2/": "MTConnect (OPC 30070-1)",
    f"{_UA}IOLink/": "IO-Link (OPC 30120)",
    f"{_UA}PROFINET/": "PROFINET (OPC 30140)",
    f"{_UA}ISA95-JOBCONTROL/": "ISA-95 Job Control (OPC 10031-4)",
    f"{_UA}ISA95-JOBCONTROL_V2/": "ISA-95 Job Control (OPC 10031-4)",
    f"{_UA}ISA95/": "ISA-95 (OPC 10030)",
    "http://www.OPCFoundation.org/UA/2013/01/ISA95": "ISA-95 (OPC 10030)",
    f"{_UA}AMB/": "Asset Management Basics (OPC 10000-110)",
    f"{_UA}PADIM/": "Process Automation Devices (OPC 30081)",
    f"{_UA}Glass/Flat/": "Flat Glass Processing (OPC 40301)",
    f"{_UA}MetalForming/": "Metal Forming (OPC 40530)",
    f"{_UA}IJT/Tightening/": "Tightening (OPC 40451-1)",
    f"{_UA}Machinery/": "Machinery (OPC 40001-1)",
    f"{_UA}Machinery/ProcessValues/": "Machinery, Process Values (OPC 40001-2)",
    f"{_UA}Machinery/Jobs/": "Machinery, Jobs (OPC 40001-3)",
    f"{_UA}Machinery/Result/": "Machinery, Results (OPC 40001-101)",
    f"{_UA}Robotics/": "Robotics (OPC 40010-1)",
    f"{_UA}PlasticsRubber/GeneralTypes/": "Plastics and Rubber (OPC 40083, Euromap 83)",
    f"{_UA}PlasticsRubber/IMM2MES/": "Injection Moulding (OPC 40077, Euromap 77)",
    f"{_UA}PlasticsRubber/TCD/": "Temperature Control (OPC 40082-1, Euromap 82.1)",
    f"{_UA}MachineVision": "Machine Vision (OPC 40100-1)",
    f"{_UA}Weighing/V2/": "Weighing (OPC 40200)",
    f"{_UA}Scales/V2/": "Weighing (OPC 40200)",
    f"{_UA}Pumps/": "Pumps (OPC 40223)",
    f"{_UA}CAS/": "Compressed Air (OPC 40250)",
    f"{_UA}IJT/Base/": "Joining and Tightening (OPC 40450)",
    f"{_UA}MachineTool/": "Machine Tools (OPC 40501-1)",
    f"{_UA}CNC": "CNC Systems (OPC 40502)",
    f"{_UA}CNC/": "CNC Systems (OPC 40502)",
    f"{_UA}LaserSystems/": "Laser Systems (OPC 40540)",
    f"{_UA}Woodworking/": "Woodworking (OPC 40550-1)",
    "http://www.euromap.org/euromap77/": "Injection Moulding (Euromap 77)",
    "http://www.euromap.org/euromap83/": "Plastics and Rubber (Euromap 83)",
    "http://www.euromap.org/euromap82_1/": "Temperature Control (Euromap 82.1)",
    "http://www.euromap.org/euromap82_2/": "Hot Runners (Euromap 82.2)",
    "http://PLCopen.org/OpcUa/IEC61131-3/": "PLC programs (OPC 30000, PLCopen)",
    "http://www.siemens.com/simatic-s7-opcua": "SIMATIC S7 (Siemens)",
}
"""Sources: the namespace URIs that the specifications define (UA Nodesets of the OPC Foundation; Euromap; PLCopen)."""

MACHINES: Final = f"{_UA}Machinery/"
"""Its Machines folder (i=1001) holds every machine of the server (OPC 40001-1, 8.2)."""

PACKML: Final = f"{_UA}PackML/"
"""Its PackMLObjects folder (i=72) holds every machine that speaks PackML (OPC 30050, 8)."""

DEVICES: Final = f"{_UA}DI/"
"""Its DeviceSet (i=5001) holds every device (OPC 10000-100, 5.5)."""


def specification(uri: str) -> str | None:
    """The name of the companion specification; None for a namespace of the machine's own."""
    return SPECIFICATIONS.get(uri) or SPECIFICATIONS.get(uri.rstrip("/") + "/")
