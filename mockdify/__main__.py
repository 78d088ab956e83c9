"""`python -m mockdify`: the same as the command `mockdify`."""

from mockdify.cli import main

main()
