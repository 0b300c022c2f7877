"""The rows M1 to M15 of the fault list, each with its own figure."""
