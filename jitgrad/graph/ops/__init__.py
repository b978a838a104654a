"""All primitives: importing this declares them."""

from jitgrad.graph.ops import control, elementwise, linalg, lists, memory, reduce, shape

__all__ = ["control", "elementwise", "linalg", "lists", "memory", "reduce", "shape"]
