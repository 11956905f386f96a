"""Tests of jaxnigt, and the runtime type checker that they run under."""

from beartype import BeartypeConf, beartype

# An int is a float is a complex, as annotations mean it.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
