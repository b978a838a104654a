"""The rules of `simplify`, by theme: one function a primitive in each table `RULES`."""
