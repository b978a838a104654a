"""Numbers, classes and attributes as text that reads back to the same bits.

In: Python and NumPy numbers, dtypes, classes. Out: text, and the way back for numbers. A float prints as the shortest
decimal that gives its bits; a NaN whose bits are not NumPy's `nan` prints them: `nan:0xfff8000000000000`. This room
knows neither ops nor the grammar around a number.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

__all__ = ["DTYPES", "NUMBER", "class_text", "number_of", "number_text"]

DTYPES = {
    name: np.dtype(name)
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64", "complex64", "complex128",
    )
}  # fmt: skip

_REAL = r"(?:nan(?::0x[0-9a-f]+)?|inf|\d+(?:\.\d*)?(?:e[+-]?\d+)?)(?!\w)"
_COMPLEX_PART = _REAL.replace(r"(?!\w)", "")
# A complex number is written as its two parts, since (-0-0j) and (nan+infj) do not survive Python's arithmetic.
NUMBER = rf"[+-]?{_COMPLEX_PART}[+-]{_COMPLEX_PART}j|[+-]?{_REAL}"
_PARTS = re.compile(rf"([+-]?{_COMPLEX_PART})([+-]{_COMPLEX_PART})j")


def number_text(number: Any) -> str:
    """Return the text of a Python or NumPy number."""
    if isinstance(number, bool | np.bool_):
        return str(bool(number))
    if isinstance(number, int | np.integer):
        return str(int(number))
    if isinstance(number, complex | np.complexfloating):
        real, imaginary = _float_text(number.real), _float_text(number.imag)
        return f"{real}{'' if imaginary[0] == '-' else '+'}{imaginary}j"
    return _float_text(number)


def _float_text(number: float | np.floating) -> str:
    exact = np.float64(number) if isinstance(number, float) and not isinstance(number, np.floating) else number
    if np.isnan(exact):
        bits = _bits(exact)
        return "nan" if bits == _bits(type(exact)(np.nan)) else f"nan:{bits:#x}"
    if np.isinf(exact):
        return "inf" if exact > 0 else "-inf"
    short = str(exact)
    if type(exact)(float(short)) == exact:
        return short
    # The way back goes through float64, and rounding twice might miss a neighbour of a narrow float.
    return repr(float(exact))


def _bits(number: Any) -> int:
    return int(np.asarray(number).view(f"u{number.dtype.itemsize}")[()])


def number_of(text: str, dtype: np.dtype) -> Any:
    """Return the number of a dtype that `number_text` wrote.

    Raises
    ------
    ValueError
        If the text is no number of this dtype.
    """
    if dtype.kind == "b":
        if text not in ("True", "False"):
            raise ValueError(f"{text} is no bool")
        return np.bool_(text == "True")
    if dtype.kind in "iu":
        return dtype.type(int(text))
    if dtype.kind == "c":
        parts = _PARTS.fullmatch(text)
        real = DTYPES["float32" if dtype.itemsize == 8 else "float64"]
        if parts is None:
            raise ValueError(f"{text} is no complex number")
        # Filled in place: arithmetic on the parts would lose signs of zeros and NaNs.
        pair = np.array([number_of(p, real) for p in parts.groups()], real)
        return pair.view(dtype)[0]
    if ":" in text:
        bits = np.array(int(text.split(":")[1], 16), f"u{dtype.itemsize}")
        return bits.view(dtype)[()]
    return dtype.type(float(text))


def class_text(value: Any) -> str:
    """Return the name by which a class or a function is found again: bare for builtins, with its module otherwise."""
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    module = getattr(value, "__module__", None)
    return name if module in ("builtins", None) else f"{module}.{name}"
