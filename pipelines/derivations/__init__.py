"""What can be computed from stored values, one derivation per file."""
