"""Gradients of plain NumPy programs, compiled to machine code.

grad, value_and_grad   gradients of scalar functions
vjp, jvp               reverse and forward mode of any function
jit                    the function itself, compiled
"""

from jitgrad.api import Transformed, grad, jit, jvp, value_and_grad, vjp
from jitgrad.errors import (
    ArgumentError,
    DifferentiationError,
    InternalError,
    JitgradError,
    RecompileWarning,
    UnsupportedError,
)

__all__ = [
    "ArgumentError",
    "DifferentiationError",
    "InternalError",
    "JitgradError",
    "RecompileWarning",
    "Transformed",
    "UnsupportedError",
    "grad",
    "jit",
    "jvp",
    "value_and_grad",
    "vjp",
]
__version__ = "0.1.0"
