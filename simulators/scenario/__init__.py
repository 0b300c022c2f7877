"""A workshop in one YAML file: machines, shifts, orders, and the faults that befall them, each at its time."""
