"""One module per command: `add` declares its arguments, `main` runs it and returns an exit code."""
