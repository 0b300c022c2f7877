"""A small MQTT 3.1.1 broker for demonstrations and tests, so that nothing needs to be installed.

Written from the OASIS standard, because the broker's promise is part of the truth: a value counts as handed over when the broker has
acknowledged it, so the broker must keep it for a reader who is away. amqtt 0.12, which was here before, forgets what is in flight when a
connection is lost or an acknowledgement takes longer than five seconds, and sends what it kept with the retain flag.

All in memory; QoS 0 and 1 to readers, 0 to 2 from publishers; no users, no TLS: for one computer.
"""
