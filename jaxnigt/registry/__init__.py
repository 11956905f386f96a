"""The one place where names stand for objects: in TOML files, on the command line and in arguments."""

from jaxnigt.registry.names import Entry, declare, entries, find, lookup, make, named, register
from jaxnigt.registry.tables import Many, Number, Table, hyperparameters, union

__all__ = [
    "Entry",
    "Many",
    "Number",
    "Table",
    "declare",
    "entries",
    "find",
    "hyperparameters",
    "lookup",
    "make",
    "named",
    "register",
    "union",
]
