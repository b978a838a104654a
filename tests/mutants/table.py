"""The bugs that are planted, those of each room in a file of its own.

A mutant whose text is no longer found in its file is an error: the tables must follow the package.
"""

from __future__ import annotations

from tests.mutants.of_backend import BACKEND
from tests.mutants.of_derivatives import DERIVATIVES
from tests.mutants.of_passes import PASSES
from tests.mutants.of_trace import TRACE

__all__ = ["MUTANTS"]

MUTANTS = (*DERIVATIVES, *PASSES, *BACKEND, *TRACE)
