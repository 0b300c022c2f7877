"""Machines that do not exist, with physics that do: reproducible from a seed, and they tell what really happened.

An island: it imports nothing of the collector, and nothing of the collector imports it. A decoder shared by both
sides would agree with itself about a wrong value; only a stranger can catch it.
"""
