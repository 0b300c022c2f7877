"""Sparkplug B edge nodes: correct by default, and able to break each rule on purpose.

The encoder, the session rules and the MQTT link are written from the standard alone (Sparkplug B 3.0, protobuf encoding,
MQTT 3.1.1), by hand and for the simulators only: whoever decodes elsewhere and agrees has understood the standard, not us.
"""
