"""Peers that do what a script says, packet by packet: a broker, a raw client, and the codec of both.

The codec is written from the standards (MQTT 3.1.1, MQTT 5.0) and shares nothing with paho or the adapter: a mistake that both sides
of a test make is no mistake to the test.
"""
