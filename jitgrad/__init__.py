"""Gradients of plain NumPy programs, compiled to machine code."""
