"""The live page: what every machine says right now, for a visitor's eyes; it reads and never changes anything."""
