"""The `math` module: results are Python floats or ints, domain and range errors are checks at run time.

In: abstract numbers, also NumPy scalars and arrays of rank 0, which `float()` converts. Out: abstract Python numbers.
The texts of errors are those of the running version: they are taken from the functions themselves.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.trace import arithmetic, arrays
from jitgrad.trace.abstract import Record, Scalar
from jitgrad.trace.algorithms import special
from jitgrad.trace.arrays import as_float, as_int, float_to_int, is_numeric, kind, scalar_value
from jitgrad.trace.calls import HANDLERS, PURE, handles
from jitgrad.trace.context import Context, kind_of_python
from jitgrad.trace.iteration import sequence_of
from jitgrad.trace.objects import special_method, type_name

__all__: list[str] = []

_F64 = np.dtype(np.float64)
PURE.update([math.factorial, math.comb, math.perm, math.isqrt, math.lcm, math.frexp, math.ulp, math.nextafter])


def _message(function: Callable[..., Any], *args: Any) -> tuple[type[Exception], str]:
    """Return the exception that a function of `math` raises, as this version words it."""
    try:
        function(*args)
    except (ValueError, OverflowError) as found:
        return type(found), str(found)
    raise AssertionError(function)


def _worded(function: Callable[..., Any], args: Sequence[Any]) -> tuple[type[Exception], str]:
    """Return an exception's text as a check's message; newer versions put the argument into it."""
    exception, text = _message(function, *args)
    shown = repr(float(args[0]))
    return exception, text.replace("{", "{{").replace("}", "}}").replace(shown, "{0!r}") if "{" not in text else text


def _float(ctx: Context, x: Any, name: str) -> Value:
    if isinstance(x, Record):
        found = special_method(ctx, x, "__float__")
        x = ctx.call(found, []) if found is not None else x
    if not is_numeric(x):
        raise TypeError(f"must be real number, not {type_name(ctx, x)}")
    return scalar_value(ctx, as_float(ctx, x), _F64)


def _known(*xs: Any) -> bool:
    return all(kind_of_python(x) is not None for x in xs)


def _raise_unless(ctx: Context, cond: Value, function: Callable[..., Any], args: Sequence[Any], value: Value) -> None:
    exception, text = _worded(function, args)
    ctx.check(cond, exception, text, value)


def _finite(ctx: Context, x: Value) -> Value:
    made: Value = ctx.g.less(ctx.g.absolute(x), math.inf)
    return made


def _result(value: Value) -> Scalar:
    return Scalar(value, "float")


# --- functions of one number

# Name of the primitive; the interval outside of which is a domain error, with whether its ends are in it, and an
# argument for the text of the error; an argument that overflows.
_Domain = tuple[float, float, bool, float]
_ONE: dict[Callable[..., float], tuple[str, _Domain | None, float | None]] = {
    math.sin: ("sin", None, None),
    math.cos: ("cos", None, None),
    math.tan: ("tan", None, None),
    math.asin: ("arcsin", (-1.0, 1.0, True, 2.5), None),
    math.acos: ("arccos", (-1.0, 1.0, True, 2.5), None),
    math.atan: ("arctan", None, None),
    math.sinh: ("sinh", None, 1000.0),
    math.cosh: ("cosh", None, 1000.0),
    math.tanh: ("tanh", None, None),
    math.asinh: ("arcsinh", None, None),
    math.acosh: ("arccosh", (1.0, math.inf, True, 0.5), None),
    math.atanh: ("arctanh", (-1.0, 1.0, False, 2.5), None),
    math.exp: ("exp", None, 1000.0),
    math.expm1: ("expm1", None, 1000.0),
    math.log2: ("log2", (0.0, math.inf, False, -2.5), None),
    math.log10: ("log10", (0.0, math.inf, False, -2.5), None),
    math.log1p: ("log1p", (-1.0, math.inf, False, -2.5), None),
    math.sqrt: ("sqrt", (0.0, math.inf, True, -2.5), None),
    math.fabs: ("absolute", None, None),
    math.erf: ("erf", None, None),
    math.erfc: ("erfc", None, None),
}
if hasattr(math, "exp2"):
    _ONE[math.exp2] = ("exp2", None, 2000.0)
if hasattr(math, "cbrt"):
    _ONE[math.cbrt] = ("cbrt", None, None)
# An infinite argument is a domain error of these.
_NEEDS_FINITE = (math.sin, math.cos, math.tan)


def _one(function: Callable[..., float]) -> Callable[..., Any]:
    name, domain, big = _ONE[function]

    def call(ctx: Context, x: Any, /) -> Any:
        if _known(x):
            return function(x)
        g = ctx.g
        value = _float(ctx, x, function.__name__)
        if function in _NEEDS_FINITE:
            fine = g.not_equal(g.absolute(value), math.inf)
            _raise_unless(ctx, fine, function, [math.inf], value)
        if domain is not None:
            _check_domain(ctx, function, domain, value)
        made = g.emit(name, [value]).result
        if big is not None:
            fine = g.logical_or(g.not_equal(g.absolute(made), math.inf), g.equal(g.absolute(value), math.inf))
            _raise_unless(ctx, fine, function, [big], value)
        return _result(made)

    return call


def _check_domain(ctx: Context, function: Callable[..., Any], domain: _Domain, value: Value) -> None:
    """Check that a number lies in an interval; NaN passes."""
    low, high, closed, example = domain
    g = ctx.g
    below, above = ("less", "greater") if closed else ("less_equal", "greater_equal")
    outside = g.emit(below, [value, low]).result
    if high != math.inf:
        outside = g.logical_or(outside, g.emit(above, [value, high]).result)
    _raise_unless(ctx, g.logical_not(outside), function, [example], value)


for _function in _ONE:
    HANDLERS[_function] = _one(_function)


@handles(math.log)
def _log(ctx: Context, x: Any, base: Any = None, /) -> Any:
    if _known(x) and (base is None or _known(base)):
        return math.log(x) if base is None else math.log(x, base)
    value = _float(ctx, x, "log")
    _check_domain(ctx, math.log, (0.0, math.inf, False, -2.5), value)
    made = _result(ctx.g.log(value))
    if base is None:
        return made
    return arithmetic.binary(ctx, "/", made, _log(ctx, base))


# --- functions of two numbers


@handles(math.pow)
def _pow(ctx: Context, x: Any, y: Any, /) -> Any:
    if _known(x, y):
        return math.pow(x, y)
    g = ctx.g
    a, b = _float(ctx, x, "pow"), _float(ctx, y, "pow")
    both = g.logical_and(_finite(ctx, a), _finite(ctx, b))
    # C's pow of minus infinity is not the square root that NumPy takes for a power of a half.
    special = g.logical_and(g.equal(a, -math.inf), g.equal(b, 0.5))
    made = g.select(special, g.constant(math.inf, _F64), g.power(a, b))
    exception, text = _message(math.pow, -8.0, 0.5)
    invalid = g.logical_and(both, g.isnan(made))
    pole = g.logical_and(both, g.logical_and(g.equal(a, 0.0), g.less(b, 0.0)))
    ctx.check(g.logical_not(g.logical_or(invalid, pole)), exception, text)
    exception, text = _message(math.pow, 10.0, 1000.0)
    ctx.check(g.logical_not(g.logical_and(both, g.isinf(made))), exception, text)
    return _result(made)


def _two(function: Callable[..., float], name: str) -> None:
    def call(ctx: Context, x: Any, y: Any, /) -> Any:
        if _known(x, y):
            return function(x, y)
        a, b = _float(ctx, x, function.__name__), _float(ctx, y, function.__name__)
        return _result(ctx.g.emit(name, [a, b]).result)

    HANDLERS[function] = call


_two(math.atan2, "arctan2")
_two(math.copysign, "copysign")


@handles(math.fmod)
def _fmod(ctx: Context, x: Any, y: Any, /) -> Any:
    if _known(x, y):
        return math.fmod(x, y)
    g = ctx.g
    a, b = _float(ctx, x, "fmod"), _float(ctx, y, "fmod")
    bad = g.logical_or(g.equal(g.absolute(a), math.inf), g.equal(b, 0.0))
    bad = g.logical_and(bad, g.logical_not(g.logical_or(g.isnan(a), g.isnan(b))))
    ctx.check(g.logical_not(bad), *_message(math.fmod, 1.0, 0.0))
    return _result(g.fmod(a, b))


@handles(math.hypot)
def _hypot(ctx: Context, *coordinates: Any) -> Any:
    if _known(*coordinates):
        return math.hypot(*coordinates)
    return _length(ctx, [_float(ctx, x, "hypot") for x in coordinates])


def _length(ctx: Context, values: Sequence[Value]) -> Any:
    g = ctx.g
    if len(values) == 1:
        return _result(g.absolute(values[0]))
    made = values[0]
    for value in values[1:]:
        made = g.hypot(made, value)
    return _result(made)


@handles(math.dist)
def _dist(ctx: Context, p: Any, q: Any, /) -> Any:
    a, b = sequence_of(ctx, p), sequence_of(ctx, q)
    if len(a) != len(b):
        raise ValueError("both points must have the same number of dimensions")
    values = [ctx.g.subtract(_float(ctx, x, "dist"), _float(ctx, y, "dist")) for x, y in zip(a, b, strict=True)]
    return _length(ctx, values) if values else 0.0


# --- to ints


def _to_int(function: Callable[..., int], primitive: str) -> None:
    def call(ctx: Context, x: Any, /) -> Any:
        if _known(x):
            return function(x)
        if isinstance(x, Record):
            found = special_method(ctx, x, f"__{function.__name__}__")
            if found is not None:
                return ctx.call(found, [])
        if kind(x) in ("int", "bool") or arrays.dtype_of(ctx, x).kind in "iu":
            return as_int(ctx, x)
        value = _float(ctx, x, function.__name__)
        return float_to_int(ctx, ctx.g.emit(primitive, [value]).result)

    HANDLERS[function] = call


_to_int(math.floor, "floor")
_to_int(math.ceil, "ceil")
_to_int(math.trunc, "trunc")


@handles(math.gcd)
def _gcd(ctx: Context, *integers: Any) -> Any:
    if _known(*integers):
        return math.gcd(*integers)
    raise ctx.error("JG236", what="an argument of math.gcd")


# --- tests


def _test(function: Callable[..., bool], rule: Callable[[Any, Value], Value]) -> None:
    def call(ctx: Context, x: Any, /) -> Any:
        if _known(x):
            return function(x)
        return Scalar(rule(ctx.g, _float(ctx, x, function.__name__)), "bool")

    HANDLERS[function] = call


_test(math.isnan, lambda g, x: g.isnan(x))
_test(math.isinf, lambda g, x: g.isinf(x))
_test(math.isfinite, lambda g, x: g.isfinite(x))


@handles(math.isclose)
def _isclose(ctx: Context, a: Any, b: Any, *, rel_tol: Any = 1e-09, abs_tol: Any = 0.0) -> Any:
    if _known(a, b, rel_tol, abs_tol):
        return math.isclose(a, b, rel_tol=rel_tol, abs_tol=abs_tol)
    g = ctx.g
    x, y = _float(ctx, a, "isclose"), _float(ctx, b, "isclose")
    relative, absolute = _float(ctx, rel_tol, "isclose"), _float(ctx, abs_tol, "isclose")
    gap = g.absolute(g.subtract(y, x))
    near = g.less_equal(gap, g.absolute(g.multiply(relative, y)))
    near = g.logical_or(near, g.less_equal(gap, g.absolute(g.multiply(relative, x))))
    near = g.logical_or(near, g.less_equal(gap, absolute))
    finite = g.logical_and(_finite(ctx, x), _finite(ctx, y))
    return Scalar(g.logical_or(g.equal(x, y), g.logical_and(near, finite)), "bool")


# --- the rest


@handles(math.degrees)
def _degrees(ctx: Context, x: Any, /) -> Any:
    return math.degrees(x) if _known(x) else _result(ctx.g.multiply(_float(ctx, x, "degrees"), 180.0 / math.pi))


@handles(math.radians)
def _radians(ctx: Context, x: Any, /) -> Any:
    return math.radians(x) if _known(x) else _result(ctx.g.multiply(_float(ctx, x, "radians"), math.pi / 180.0))


@handles(math.modf)
def _modf(ctx: Context, x: Any, /) -> Any:
    if _known(x):
        return math.modf(x)
    g = ctx.g
    value = _float(ctx, x, "modf")
    whole = g.trunc(value)
    part = g.select(g.isinf(value), ctx.constant(0.0, _F64), g.subtract(value, whole))
    return _result(g.copysign(part, value)), _result(whole)


@handles(math.ldexp)
def _ldexp(ctx: Context, x: Any, i: Any, /) -> Any:
    if _known(x, i):
        return math.ldexp(x, i)
    if not _known(i):
        raise ctx.error("JG236", what="the exponent of math.ldexp")
    value = _float(ctx, x, "ldexp")
    made = ctx.g.multiply(value, math.ldexp(1.0, i))
    fine = ctx.g.logical_or(_finite(ctx, made), ctx.g.logical_not(_finite(ctx, value)))
    ctx.check(fine, *_message(math.ldexp, 1.0, 5000))
    return _result(made)


@handles(math.prod)
def _prod(ctx: Context, iterable: Any, /, *, start: Any = 1) -> Any:
    made = start
    for item in sequence_of(ctx, iterable):
        made = arithmetic.binary(ctx, "*", made, item)
    return made


@handles(math.fsum)
def _fsum(ctx: Context, seq: Any, /) -> Any:
    items = sequence_of(ctx, seq)
    if _known(*items):
        return math.fsum(items)
    raise ctx.error(
        "JG237", name="math.fsum", why="it adds without rounding, in a number of steps that depends on data"
    )


if hasattr(math, "sumprod"):

    @handles(math.sumprod)
    def _sumprod(ctx: Context, p: Any, q: Any, /) -> Any:
        raise ctx.error("JG237", name="math.sumprod", why="it adds with extended precision; use sum() or np.dot")


def _refused(name: str) -> Callable[..., Any]:
    def refuse(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        if _known(*args):
            return getattr(math, name)(*args)
        raise ctx.error("JG237", name=f"math.{name}", why="it has no derivative here yet")

    return refuse


HANDLERS[math.remainder] = _refused("remainder")


def _program(function: Callable[..., Any], program: Callable[..., Any]) -> None:
    @handles(function)
    def call(ctx: Context, x: Any, /) -> Any:
        return function(x) if _known(x) else ctx.call(program, [ctx.call(float, [x])])


_program(math.lgamma, special.math_lgamma)
_program(math.gamma, special.math_gamma)


def _no_cmath(name: str) -> Callable[..., Any]:
    def refuse(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        if _known(*args):
            return getattr(cmath, name)(*args, **kwargs)
        raise ctx.error("JG237", name=f"cmath.{name}", why="complex numbers are not compiled; use NumPy's functions")

    return refuse


for _name in dir(cmath):
    if callable(getattr(cmath, _name)) and not _name.startswith("_"):
        HANDLERS[getattr(cmath, _name)] = _no_cmath(_name)
