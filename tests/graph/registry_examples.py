"""Examples of every primitive that is not elementwise: operands, how the op is built, and what it means in NumPy.

The meaning is written in these files a second time, independently of the declaration. The walk in `test_registry.py`
fails for a primitive that has no example.
"""

from __future__ import annotations

from tests.graph.registry_arrays import CONVERSIONS, MEMORY, REDUCE
from tests.graph.registry_base import Example
from tests.graph.registry_structure import CONTROL, LINALG, LISTS, SHAPE
from tests.graph.registry_systems import SYSTEMS

__all__ = ["EXAMPLES", "Example"]

EXAMPLES: dict[str, list[Example]] = CONTROL | SHAPE | LINALG | SYSTEMS | LISTS | MEMORY | REDUCE | CONVERSIONS
