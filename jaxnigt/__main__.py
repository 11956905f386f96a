"""`python -m jaxnigt` is the command line."""

from jaxnigt.cli import main

main()
