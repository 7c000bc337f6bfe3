"""`python -m segexport`."""

from segexport.cli.main import main

main()
