"""The short proof on the user's own computer: a real collector between a machine and a database that know the truth."""
