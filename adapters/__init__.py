"""Knows how to talk to machines and databases: one folder per protocol, named after the protocol."""
