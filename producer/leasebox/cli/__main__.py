"""`python -m leasebox.cli`: the same as `leasebox`."""

from leasebox.cli import main

main()
