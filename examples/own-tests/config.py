"""Which signals this project wants: namespace and identifiers as the machine shows them."""

NAMESPACE = "urn:shopfloor:sim:cnc"
SIGNALS = {
    "state": "Control.Execution",
    "alarm": "Alarm.Text",
    "power": "Spindle.Power",
    "parts": "Production.Parts",
}
