"""Recordings of real machines, played again: what a customer's machine once said becomes a test that always says the same.

A recording has no model behind it, hence no seed and no states: its truth is what the file says, at the times of the file
or moved as a whole.
"""
