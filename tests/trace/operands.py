"""Operands of NumPy's functions: short names, for they stand in hundreds of rows."""

# ruff: noqa: E741
from __future__ import annotations

import numpy as np

__all__ = ["B", "F", "I", "M", "N", "S", "T", "U", "V", "W", "X"]

V = np.array([0.3, -1.2, 2.5, 0.7, -0.4])
W = np.array([1.5, 0.2, -0.6, 3.0, 0.9])
M = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
N = np.array([[1.0, 2.0], [-0.5, 0.5], [0.3, -0.2]])
S = np.array([[2.0, 0.3, -0.1], [0.2, 1.5, 0.4], [0.1, -0.3, 1.1]])
T = np.linspace(-1, 1, 24).reshape(2, 3, 4)
F = V.astype(np.float32)
I = np.array([3, -1, 4, 1, -5])
U = np.array([1, 2, 200], np.uint8)
B = np.array([True, False, True, True, False])
X = np.float64(0.75)
