"""What can go wrong, on purpose: in the process, in a sensor, on the way. Everything of it is in the truth."""
