"""All primitives: importing this declares them."""

from jitgrad.graph.ops import (
    arithmetic,
    choice,
    complexes,
    control,
    exponential,
    linalg,
    lists,
    logic,
    memory,
    reduce,
    scan,
    shape,
    systems,
    trigonometric,
)

__all__ = [
    "arithmetic",
    "choice",
    "complexes",
    "control",
    "exponential",
    "linalg",
    "lists",
    "logic",
    "memory",
    "reduce",
    "scan",
    "shape",
    "systems",
    "trigonometric",
]
