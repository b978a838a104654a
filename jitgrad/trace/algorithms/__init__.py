"""Plain NumPy programs that stand for functions of NumPy and SciPy: traced where those are called.

Nothing that they read is guarded, and what they do happens at the line that calls them (`Func.is_ours`).
"""
