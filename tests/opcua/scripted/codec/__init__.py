"""Bytes only: OPC UA binary and the secure conversation as OPC 10000-6 has them, written for these tests alone.

Neither asyncua nor the adapter is used here, so that a mistake of theirs cannot be repeated by the peer they are tried with.
"""
