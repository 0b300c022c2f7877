"""How a machine is spoken to: one file per interface; the physics knows none of them."""
