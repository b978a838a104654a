"""The elementary functions against mpmath (50 digits), NumPy's special values, and themselves at other widths."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import mpmath
import numpy as np
import pytest
import scipy.special
from mpmath import mp, mpf

from jitgrad.backend.engine import compile_module, resolve
from jitgrad.backend.scalar_math import SUPPORTED, MathLibrary

if tuple(int(part) for part in llvmlite.__version__.split(".")[:2]) < (0, 45):
    llvm.initialize()
llvm.initialize_native_target()
llvm.initialize_native_asmprinter()

BINARY = ("arctan2", "hypot", "pow")
DTYPES = ("float64", "float32")

# In units of the last place of the true value. float32 is computed in double and rounded once.
BOUND = {"float64": 2.0, "float32": 0.6}

REFERENCE: dict[str, Callable[..., Any]] = {
    "arccos": mp.acos,
    "arccosh": mp.acosh,
    "arcsin": mp.asin,
    "arcsinh": mp.asinh,
    "arctan": mp.atan,
    "arctan2": mp.atan2,
    "arctanh": mp.atanh,
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "cos": mp.cos,
    "cosh": mp.cosh,
    "erf": mp.erf,
    "erfc": mp.erfc,
    "exp": mp.exp,
    "exp2": lambda x: mp.power(2, x),
    "expm1": mp.expm1,
    "hypot": mp.hypot,
    "log": mp.log,
    "log10": mp.log10,
    "log1p": mp.log1p,
    "log2": lambda x: mp.log(x) / mp.log(2),
    "pow": mp.power,
    "sin": mp.sin,
    "sinh": mp.sinh,
    "tan": mp.tan,
    "tanh": mp.tanh,
}

NUMPY: dict[str, Callable[..., Any]] = {
    name: getattr(np, name, None) or getattr(scipy.special, name) for name in REFERENCE
}


class Compiled:
    """All functions for one dtype and width, each behind `void run_name(ptr, ptr, ptr out, i64 n)`."""

    def __init__(self, dtype: str, width: int, fma: bool, generic: bool) -> None:
        library = MathLibrary(fma)
        loops = "\n".join(_loop(library, name, dtype, width) for name in sorted(SUPPORTED))
        self.text = loops + library.definitions()
        module = llvm.parse_assembly(self.text)
        module.verify()
        target = llvm.Target.from_default_triple()
        if generic:
            machine = target.create_target_machine(opt=1)
        else:
            features = llvm.get_host_cpu_features().flatten()
            machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=1)
        resolve(module)
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        self._dtype, self._width = np.dtype(dtype), width

    def __call__(self, name: str, *operands: np.ndarray) -> np.ndarray:
        size = len(operands[0])
        padded = -(-size // self._width) * self._width
        arrays = [np.ones(padded, self._dtype) for _ in range(3)]
        for array, operand in zip(arrays, operands, strict=False):
            array[:size] = operand
        signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)
        run = signature(self._engine.get_function_address(f"run_{name}"))
        run(*[array.ctypes.data for array in arrays], padded)
        return arrays[2][:size]


def _loop(library: MathLibrary, name: str, dtype: str, width: int) -> str:
    element = {"float64": "double", "float32": "float"}[dtype]
    of = element if width == 1 else f"<{width} x {element}>"
    align = np.dtype(dtype).itemsize
    operands = ["%x", "%y"] if name in BINARY else ["%x"]
    return f"""
define void @run_{name}(ptr %first, ptr %second, ptr %out, i64 %n) {{
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%next, %body]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %body, label %done
body:
  %p = getelementptr {element}, ptr %first, i64 %i
  %q = getelementptr {element}, ptr %second, i64 %i
  %r = getelementptr {element}, ptr %out, i64 %i
  %x = load {of}, ptr %p, align {align}
  %y = load {of}, ptr %q, align {align}
  %z = {library.call(name, dtype, width, *operands)}
  store {of} %z, ptr %r, align {align}
  %next = add i64 %i, {width}
  br label %head
done:
  ret void
}}
"""


@lru_cache
def compiled(dtype: str, width: int = 8, fma: bool = False, generic: bool = False) -> Compiled:
    return Compiled(dtype, width, fma, generic)


# Points


def over_exponents(rng: np.random.Generator, n: int, low: int, high: int) -> np.ndarray:
    """Return numbers of both signs whose exponents are uniform."""
    return np.ldexp(rng.uniform(1, 2, n), rng.integers(low, high, n)) * rng.choice([-1, 1], n)


def points(name: str, dtype: str, n: int) -> list[np.ndarray]:
    """Return operands: the whole exponent range, where the function is hard, and the ends of its domain."""
    rng = np.random.default_rng(sum(map(ord, name)))
    low, high, largest = (-149, 128, 88.8) if dtype == "float32" else (-1074, 1024, 709.8)
    lowest = 104.0 if dtype == "float32" else 746.0

    def u(a: float, b: float) -> np.ndarray:
        return rng.uniform(a, b, n)

    def e(a: int, b: int) -> np.ndarray:
        return over_exponents(rng, n, a, b)

    everywhere = e(low, high)
    if name in ("exp", "expm1", "exp2", "sinh", "cosh", "tanh"):
        scale = {"exp2": 1 / np.log(2)}.get(name, 1.0)
        thresholds = [709.782712893384, -745.1332191019412, -708.3964185322641, 710.4758600739439, 88.72284, -103.97208]
        ends = [t * scale * (1 + k * 2.0**-24) for t in thresholds for k in range(-3, 4)]
        ends += [t * scale * (1 + k * 2.0**-52) for t in thresholds for k in range(-9, 10)]
        groups = [u(-1, 1), u(-lowest, largest) * scale, u(-40, 40), u(-2, 2) * 0.35, e(low, 10)]
        groups += [u(-lowest, -lowest * 0.95) * scale, u(-0.01, 0.01), u(0.5, 0.6), u(-1, 1) * 2 + 36, np.array(ends)]
    elif name in ("log", "log2", "log10"):
        groups = [abs(everywhere), u(0.5, 2), 1 + e(-53, -3), u(0.9, 1.1), u(0, 100), abs(e(low, low + 60))]
        groups.append(np.sqrt(2) ** np.arange(-9, 10) * (1 + u(-1, 1)[0] * 1e-15))
    elif name == "log1p":
        groups = [abs(everywhere), u(-1, 2), e(-60, -3), u(0, 100), abs(e(-53, -1)) - 1, u(-0.5, 0.6), u(0.41, 0.42)]
    elif name in ("sin", "cos", "tan"):
        near = rng.integers(-900_000, 900_000, n) * (np.pi / 2)
        few = rng.integers(-20, 20, n) * (np.pi / 2)
        groups = [u(-4, 4), u(-100, 100), u(-1.6e6, 1.6e6), near, few, few * (1 + e(-50, -5)), everywhere]
        groups += [u(-1.6, 1.6), rng.integers(-2_000_000, 2_000_000, n) * (np.pi / 4), 1.5e6 + u(-1, 1)]
        # The doubles nearest to a multiple of pi/2, below 1.5e6 (29 pi/2 and its doubles) and of all.
        groups.append(np.array([45.553093477052, 91.106186954104, 6381956970095103 * 2.0**797]))
    elif name in ("arcsin", "arccos", "arctanh"):
        groups = [u(-1, 1), e(low, -1), (1 - abs(e(-53, -1))) * rng.choice([-1, 1], n), u(0.45, 0.55), -u(0.45, 0.55)]
        groups.append(np.array([1.0, -1.0, 0.5, -0.5]))
    elif name in ("arctan", "arcsinh", "cbrt"):
        groups = [u(-3, 3), everywhere, u(-1, 1), u(0.45, 0.55), u(1.9, 2.1), e(58, 62)]
    elif name == "arccosh":
        groups = [1 + abs(e(-52, 3)), abs(e(0, high)), u(1, 3), abs(e(58, 62))]
    elif name == "erf":
        groups = [u(-6.5, 6.5), u(-1.2, 1.2), e(low, 3), u(0.9, 1.4)]
    elif name == "erfc":
        groups = [u(-6, 6), u(0.4, 1.2), -u(0.4, 0.6), e(low, 3), u(0.5, lowest**0.5), u(0.96, 1.01) * largest**0.5]
    elif name == "pow":
        bases = [u(0, 10), abs(everywhere), 1 + e(-50, -2), u(0.5, 2), abs(everywhere)]
        with np.errstate(divide="ignore"):
            logs = [np.log(base.astype(dtype).astype(float)) for base in bases[1:]]
            exponents = [u(-10, 10), *(u(-lowest, largest) / log for log in logs)]
        integers = rng.integers(-20, 20, n).astype(float)
        bases += [-abs(e(-4, 4)), u(0, 100)]
        exponents += [integers, integers / 2]
        with np.errstate(over="ignore"):
            return [np.concatenate(bases).astype(dtype), np.concatenate(exponents).astype(dtype)]
    else:
        first = [u(-10, 10), everywhere, u(-1, 1), u(-1, 1), everywhere]
        second = [u(-10, 10), e(low, high), u(-1, 1) * 1e-3, e(low, 3), everywhere * u(-3, 3)]
        with np.errstate(over="ignore"):
            return [np.concatenate(first).astype(dtype), np.concatenate(second).astype(dtype)]
    with np.errstate(over="ignore", under="ignore"):
        return [np.concatenate(groups).astype(dtype)]


@lru_cache
def truth(name: str, dtype: str, n: int) -> tuple[list[np.ndarray], list[tuple[int, Any]]]:
    """Return the operands, and for those with a finite value their index and that value."""
    operands = points(name, dtype, n)
    values = []
    with mp.workdps(50):
        for i, lanes in enumerate(zip(*operands, strict=True)):
            if not all(np.isfinite(lanes)):
                continue
            try:
                value = REFERENCE[name](*(mpf(float(lane)) for lane in lanes))
            except (ValueError, ZeroDivisionError):
                continue
            if isinstance(value, mpmath.mpf) and mp.isfinite(value):
                values.append((i, value))
    return operands, values


def error_in_ulps(got: float, true: Any, dtype: str) -> float:
    """Return |got - true| in units of the last place of the true value; infinity stands for the first beyond."""
    precision, smallest, limit = (24, -149, 2.0**128) if dtype == "float32" else (53, -1074, mpf(2) ** 1024)
    if np.isnan(got):
        return float("inf")
    number = mp.sign(got) * limit if np.isinf(got) else mpf(float(got))
    true = max(min(true, mpf(limit)), -mpf(limit))
    _, exponent = mp.frexp(true)
    exponent = min(exponent, 128 if dtype == "float32" else 1024)
    return float(abs(number - true) / mpf(2) ** max(exponent - precision, smallest))


@pytest.mark.parametrize("fma", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_within_ulps_of_the_true_value(name: str, dtype: str, fma: bool) -> None:
    operands, values = truth(name, dtype, 50)
    assert len(values) > 150
    results = compiled(dtype, fma=fma)(name, *operands)
    with mp.workdps(50):
        worst, i = max((error_in_ulps(results[i], value, dtype), i) for i, value in values)
    assert worst <= BOUND[dtype], f"{worst} ulp at {[operand[i] for operand in operands]}: {results[i]!r}"


def special_values(dtype: str) -> np.ndarray:
    limits = np.finfo(dtype)
    positive = [
        0.0,
        1.0,
        2.0,
        0.5,
        3.0,
        1.5,
        0.1,
        1e-5,
        5.0,
        7.0,
        100.0,
        104.0,
        710.0,
        746.0,
        1e5,
        1e10,
        np.inf,
        np.nan,
    ]
    positive += [limits.tiny, limits.smallest_subnormal, limits.max, 1 + limits.eps, 1 - limits.epsneg]
    positive += [2.0**24 - 1, 2.0**24 + 2, 2.0**53 - 1, 2.0**53 + 2, 2.0**63, 2.0**70, float(limits.max) ** 0.9]
    return np.array([*positive, *(-x for x in positive)], dtype)


@pytest.mark.parametrize("fma", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_special_values_are_those_of_numpy(name: str, dtype: str, fma: bool) -> None:
    """NaN, infinities and zeros fall where NumPy has them, zeros and infinities with its signs."""
    values = special_values(dtype)
    operands = [grid.ravel() for grid in np.meshgrid(values, values)] if name in BINARY else [values]
    got = compiled(dtype, fma=fma)(name, *operands)
    with np.errstate(all="ignore"):
        expected = NUMPY[name](*operands).astype(dtype)
    kinds = [
        np.isnan,
        np.isposinf,
        np.isneginf,
        lambda a: (a == 0) & ~np.signbit(a),
        lambda a: (a == 0) & np.signbit(a),
    ]
    for kind in kinds:
        wrong = kind(got) != kind(expected)
        assert not wrong.any(), [(*(o[wrong][0] for o in operands), got[wrong][0], expected[wrong][0])]
    ordinary = np.isfinite(expected) & (abs(expected) < np.finfo(dtype).max)
    assert np.all(abs(got[ordinary] - expected[ordinary]) <= 4 * np.spacing(abs(expected[ordinary])))


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_width_gives_the_same_bits(dtype: str, width: int) -> None:
    for name in sorted(SUPPORTED):
        operands = [np.concatenate([p, p[:1]]) for p in points(name, dtype, 40)]
        wide = compiled(dtype)(name, *operands)
        assert np.array_equal(compiled(dtype, width)(name, *operands), wide, equal_nan=True), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_host_without_vector_extensions_gives_the_same_bits(dtype: str) -> None:
    for name in sorted(SUPPORTED):
        operands = points(name, dtype, 40)
        expected = compiled(dtype)(name, *operands)
        assert np.array_equal(compiled(dtype, 4, generic=True)(name, *operands), expected, equal_nan=True), name


def test_sine_and_cosine_stay_within_one() -> None:
    extremes = np.arange(-200_000, 200_000) * (np.pi / 2)
    for shift in (-(2.0**-40), 0.0, 1e-9, 1e-8):
        for fma in (False, True):
            for name in ("sin", "cos"):
                assert abs(compiled("float64", fma=fma)(name, extremes + shift)).max() <= 1.0


def test_a_huge_lane_does_not_change_its_neighbours() -> None:
    x = np.linspace(-3, 3, 64)
    mixed = x.copy()
    mixed[::5] = 1e300
    others = np.arange(64) % 5 != 0
    for name in ("sin", "cos", "tan"):
        run = compiled("float64", fma=True)
        assert np.array_equal(run(name, x)[others], run(name, mixed)[others])


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_results_are_exact(dtype: str) -> None:
    run = compiled(dtype)
    low, high = (-149, 128) if dtype == "float32" else (-1074, 1024)
    exponents = np.arange(low, high).astype(dtype)
    powers = np.ldexp(np.ones(len(exponents)), exponents.astype(int)).astype(dtype)
    assert np.array_equal(run("exp2", exponents), powers)
    assert np.array_equal(run("log2", powers), exponents)
    assert np.array_equal(run("pow", np.full_like(exponents, 2), exponents), powers)
    tens = np.arange(0, 11 if dtype == "float32" else 23).astype(dtype)
    assert np.array_equal(run("log10", np.array([10.0 ** int(t) for t in tens], dtype)), tens)
    whole = np.arange(-200, 201).astype(dtype)
    assert np.array_equal(run("cbrt", whole**3), whole)
    assert np.array_equal(run("pow", whole, np.full_like(whole, 3)), whole**3)
    assert np.array_equal(run("pow", whole, np.full_like(whole, 1)), whole)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiny_operands_of_odd_functions_come_back(dtype: str) -> None:
    limits = np.finfo(dtype)
    tiny = np.array([0.0, limits.smallest_subnormal, limits.tiny, limits.tiny * 1.5, limits.eps**2], dtype)
    tiny = np.concatenate([tiny, -tiny])
    for name in ("arcsin", "arcsinh", "arctan", "arctanh", "expm1", "log1p", "sin", "sinh", "tan", "tanh"):
        got = compiled(dtype)(name, tiny)
        assert np.array_equal(got.view(f"u{tiny.itemsize}"), tiny.view(f"u{tiny.itemsize}")), name


def test_text_is_reproducible_and_strict() -> None:
    """One definition a helper, in an order that does not depend on the calls, without fast-math and conversions."""
    first, second = MathLibrary(), MathLibrary()
    for name in sorted(SUPPORTED):
        operands = ["%a", "%b"] if name in BINARY else ["%a"]
        first.call(name, "float64", 4, *operands)
    for name in sorted(SUPPORTED, reverse=True):
        operands = ["%a", "%b"] if name in BINARY else ["%a"]
        second.call(name, "float64", 4, *operands)
        second.call(name, "float64", 4, *operands)
    text = first.definitions()
    assert text == second.definitions()
    assert len(re.findall(r"^define internal fastcc .* @jg_\w+_f64x4\(", text, re.M)) == len(SUPPORTED)
    banned = r"\b(fast|nnan|ninf|nsz|arcp|contract|afn|reassoc|fptosi|fptoui|inttoptr|nsw|nuw|llvm\.fma)\b"
    assert not re.search(banned, text.replace("fastcc", ""))


def test_calls_name_the_helper() -> None:
    library = MathLibrary()
    assert library.definitions().strip() == ""
    assert library.call("exp", "float64", 8, "%x") == "call fastcc <8 x double> @jg_exp_f64x8(<8 x double> %x)"
    assert library.call("pow", "float32", 1, "%x", "%y") == "call fastcc float @jg_pow_f32x1(float %x, float %y)"
    for name, dtype, width, operands in [
        ("gamma", "float64", 4, ["%x"]),
        ("exp", "int64", 4, ["%x"]),
        ("exp", "float64", 0, ["%x"]),
        ("exp", "float64", 4, ["%x", "%y"]),
        ("pow", "float64", 4, ["%x"]),
    ]:
        with pytest.raises(ValueError):
            library.call(name, dtype, width, *operands)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sine_and_cosine_together_are_those_apart(dtype: str) -> None:
    """The pair has the bits of each alone, at huge operands too."""
    library = MathLibrary(True)
    of = {"float64": "double", "float32": "float"}[dtype]
    calls = [library.call(name, dtype, 1, "%x") for name in ("sincos", "sin", "cos")]
    lines = [f"%pair = {calls[0]}", f"%v0 = extractvalue {{ {of}, {of} }} %pair, 0"]
    lines += [f"%v1 = extractvalue {{ {of}, {of} }} %pair, 1", f"%v2 = {calls[1]}", f"%v3 = {calls[2]}"]
    for k in range(4):
        lines += [f"%p{k} = getelementptr {of}, ptr %out, i64 {k}", f"store {of} %v{k}, ptr %p{k}"]
    text = f"define void @run(ptr %in, ptr %out) {{\n%x = load {of}, ptr %in\n" + "\n".join(lines) + "\nret void\n}\n"
    code = compile_module(text + library.definitions(), level="minimal")
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(code.address("run"))
    for value in (0.0, -0.0, 0.3, -2.5, 1e5, 3e7, -1e30, np.inf, np.nan):
        given, out = np.array([value], dtype), np.zeros(4, dtype)
        run(given.ctypes.data, out.ctypes.data)
        assert out[:2].tobytes() == out[2:].tobytes(), value


def test_a_call_that_was_withdrawn_is_not_defined() -> None:
    library = MathLibrary()
    library.call("sin", "float64", 4, "%x")
    library.withdraw("sin", "float64", 4)
    assert library.definitions().strip() == ""
