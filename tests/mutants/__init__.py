"""Planted bugs, to see that the tests find them: `python -m tests.mutants`."""
