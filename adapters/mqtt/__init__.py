"""MQTT 3.1.1 and 5: a persistent session, QoS 1, acknowledged only when the journal has it."""
