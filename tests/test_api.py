"""The public transforms as users call them."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest

import jitgrad
from jitgrad import grad, jit, jvp, value_and_grad, vjp
from jitgrad.errors import DifferentiationError

X = np.array([0.5, -1.0, 2.0])


def scaled(x: float, y: float = 2.0, *rest: float, k: float = 3.0, **more: float) -> float:
    """Multiply everything."""
    total = x * x * y * k
    for r in rest:
        total = total * r
    for v in more.values():
        total = total * v
    return total


def test_gradient_of_a_float_is_a_float() -> None:
    g = grad(scaled)(3.0)
    assert type(g) is float
    assert g == 2 * 3.0 * 2.0 * 3.0


@pytest.mark.parametrize(
    ("argnums", "want"),
    [
        (0, 36.0),
        (1, 27.0),
        (-1, 27.0),
        ("x", 36.0),
        ("y", 27.0),
        ((0, 1), (36.0, 27.0)),
        (("y", 0), (27.0, 36.0)),
        ([1], (27.0,)),
    ],
)
def test_argnums(argnums: Any, want: Any) -> None:
    assert grad(scaled, argnums=argnums)(3.0, 2.0) == want


def test_argnums_by_keyword() -> None:
    assert grad(scaled, argnums="k")(3.0, k=5.0) == 18.0
    assert grad(scaled, argnums="z")(3.0, z=2.0) == 54.0


def test_varargs_and_defaults() -> None:
    assert grad(scaled)(1.0, 2.0, 3.0, 4.0, k=1.0, a=0.5) == 2 * 2.0 * 12.0 * 0.5


@pytest.mark.parametrize("argnums", [2, -3, "nothing", 1.5, True, (0, 0)])
def test_wrong_argnums(argnums: Any) -> None:
    with pytest.raises(jitgrad.ArgumentError, match="JG101"):
        grad(scaled, argnums=argnums)(3.0, 2.0)


def test_value_and_grad_and_aux() -> None:
    def f(x: np.ndarray) -> Any:
        y = x * x
        return y.sum(), {"squares": y, "count": 3, "name": "n"}

    g, aux = grad(f, has_aux=True)(X)
    np.testing.assert_array_equal(g, 2 * X)
    np.testing.assert_array_equal(aux["squares"], X * X)
    assert aux["count"] == 3 and aux["name"] == "n"
    (v, aux), g = value_and_grad(f, has_aux=True)(X)
    assert v == (X * X).sum() and type(v) is np.float64
    with pytest.raises(jitgrad.ArgumentError, match="JG105"):
        grad(lambda x: x * x, has_aux=True)(2.0)


def test_decorators() -> None:
    @jit
    def double(x: float) -> float:
        return 2.0 * x

    @grad(argnums=1)
    def second(x: float, y: float) -> float:
        return x * y * y

    @jit()
    def triple(x: float) -> float:
        return 3.0 * x

    assert double(2.0) == 4.0 and triple(2.0) == 6.0
    assert second(2.0, 3.0) == 12.0


def test_metadata() -> None:
    g = grad(scaled)
    assert g.__name__ == "scaled"
    assert g.__doc__ == "Multiply everything."
    assert g.__wrapped__ is scaled
    assert "scaled" in repr(g)


class Spring:
    stiffness = 2.0

    def __init__(self, rest: float) -> None:
        self.rest = rest

    @jit
    def energy(self, x: float) -> float:
        return 0.5 * self.stiffness * (x - self.rest) ** 2

    def __call__(self, x: float) -> float:
        return self.energy(x)

    @property
    def double_rest(self) -> float:
        return 2.0 * self.rest

    def shifted(self, x: float) -> float:
        return x * self.double_rest


def test_methods_and_callable_objects() -> None:
    s = Spring(1.0)
    assert s.energy(3.0) == 4.0
    s.rest = 2.0
    assert s.energy(3.0) == 1.0
    assert jit(s.shifted)(2.0) == 8.0
    assert grad(s.shifted)(2.0) == 4.0
    assert grad(s)(5.0) == 6.0
    s.rest = 4.0
    assert grad(s)(5.0) == 2.0
    s.stiffness = 10.0
    assert grad(s)(5.0) == 10.0


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclass
class Layer:
    w: np.ndarray
    b: np.ndarray | None = None
    name: str = "layer"
    size: int = 3
    extras: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Frozen:
    w: np.ndarray
    factor: float

    def __post_init__(self) -> None:
        if self.factor < 0:
            raise ValueError("negative factor")


class Slotted:
    __slots__ = ("u", "v")

    def __init__(self, u: np.ndarray, v: float) -> None:
        self.u = u
        self.v = v


def energy(tree: Any) -> Any:
    """Return the sum of squares of all floats in a tree."""
    if isinstance(tree, Layer):
        total = (tree.w**2).sum()
        if tree.b is not None:
            total = total + (tree.b**2).sum()
        for value in tree.extras.values():
            total = total + (value**2).sum()
        return total
    if isinstance(tree, Frozen):
        return tree.factor * (tree.w**2).sum()
    if isinstance(tree, Slotted):
        return tree.v * (tree.u**2).sum()
    if isinstance(tree, dict):
        return sum(energy(v) for v in tree.values())
    if isinstance(tree, list | tuple):
        return sum(energy(v) for v in tree)
    return (tree**2).sum()


def test_gradient_has_the_type_of_the_argument() -> None:
    layer = Layer(X, None, "first", 3, {"m": X * 2})
    g = grad(energy)(layer)
    assert type(g) is Layer and g.b is None and g.name == "first" and g.size == 3
    np.testing.assert_array_equal(g.w, 2 * X)
    np.testing.assert_array_equal(g.extras["m"], 4 * X)
    tree = {"a": [X, (X, Pair(X, X * 3))], "b": layer}
    g = grad(energy)(tree)
    assert type(g["a"][1][1]) is Pair
    np.testing.assert_array_equal(g["a"][1][1].b, 6 * X)
    np.testing.assert_array_equal(g["b"].w, 2 * X)


def test_objects_are_rebuilt_without_init() -> None:
    g = grad(energy)(Frozen(X, 3.0))
    assert type(g) is Frozen
    np.testing.assert_array_equal(g.w, 6 * X)
    assert g.factor == (X**2).sum()
    g = grad(lambda p: -energy(p))(Frozen(X, 3.0))
    assert g.factor == -(X**2).sum()
    s = grad(energy)(Slotted(X, 2.0))
    assert type(s) is Slotted
    np.testing.assert_array_equal(s.u, 4 * X)


def test_dtypes_orders_and_ownership() -> None:
    for dtype in (np.float32, np.float64):
        a = np.asfortranarray(np.arange(6.0).reshape(2, 3), dtype=dtype)
        g = grad(lambda m: (m * m).sum())(a)
        assert g.dtype == dtype and g.flags.f_contiguous and g.flags.owndata and g.flags.writeable
        np.testing.assert_array_equal(g, 2 * a)
    strided = np.arange(10.0)[::2]
    np.testing.assert_array_equal(grad(lambda v: (v * v).sum())(strided), 2 * strided)
    backwards = np.arange(5.0)[::-1]
    np.testing.assert_array_equal(jit(lambda v: v * 2.0)(backwards), backwards * 2.0)
    swapped = np.arange(3.0).astype(">f8")
    np.testing.assert_array_equal(jit(lambda v: v * 2.0)(swapped), np.arange(3.0) * 2.0)
    assert grad(lambda s: s * s)(np.float32(3.0)).dtype == np.float32


def test_gradients_are_fresh() -> None:
    a, b = grad(lambda x, y: (x + y).sum(), argnums=(0, 1))(X, X)
    assert not np.shares_memory(a, b) and not np.shares_memory(a, X)
    first = grad(lambda x: x.sum())(X)
    first[0] = 100.0
    np.testing.assert_array_equal(grad(lambda x: x.sum())(X), np.ones(3))


def test_integer_arguments_are_refused_kindly() -> None:
    with pytest.raises(jitgrad.DifferentiationError, match=r"3\.0 for 3") as caught:
        grad(lambda x: x * x)(3)
    assert caught.value.code == "JG111"
    with pytest.raises(jitgrad.DifferentiationError, match="JG112"):
        grad(lambda t: 1.0)({"a": 3, "b": "text"})
    with pytest.raises(jitgrad.DifferentiationError, match="JG114"):
        grad(lambda x: x * 2.0)(X)
    with pytest.raises(jitgrad.DifferentiationError, match="JG114"):
        grad(lambda x: 3)(2.0)
    with pytest.raises(jitgrad.DifferentiationError, match="JG114"):
        grad(lambda x: "no")(2.0)


def test_vjp_and_jvp() -> None:
    def f(x: np.ndarray, s: float) -> Any:
        return x * s, (x * x).sum()

    value, pull = vjp(f, X, 3.0)
    np.testing.assert_array_equal(value[0], 3 * X)
    w = np.array([1.0, 2.0, 3.0])
    ct_x, ct_s = pull((w, 2.0))
    np.testing.assert_allclose(ct_x, 3 * w + 4 * X)
    assert ct_s == pytest.approx(w @ X) and type(ct_s) is float
    t = np.array([0.5, 0.25, -1.0])
    value, tangent = jvp(f, (X, 3.0), (t, 2.0))
    assert np.vdot(tangent[0], w) + 2.0 * tangent[1] == pytest.approx(np.vdot(ct_x, t) + 2.0 * ct_s)
    with pytest.raises(jitgrad.ArgumentError, match="JG106"):
        pull(w)
    with pytest.raises(jitgrad.ArgumentError, match="JG106"):
        jvp(f, (X, 3.0), (t,))
    _, pull, aux = vjp(lambda x: (x.sum(), x * 2.0), X, has_aux=True)
    np.testing.assert_array_equal(aux, 2 * X)
    np.testing.assert_array_equal(pull(2.0)[0], np.full(3, 2.0))


FACTOR = np.array([1.0, 2.0, 3.0])


def test_a_pull_back_owns_what_it_needs() -> None:
    x = X.copy()
    value, pull = vjp(lambda v: v * v, x)
    x[:] = 100.0
    value[:] = 50.0
    np.testing.assert_array_equal(pull(np.ones(3))[0], 2 * X)


def test_nested_transforms() -> None:
    def cube(x: float) -> float:
        return x * x * x

    assert grad(grad(cube))(2.0) == 12.0
    assert grad(grad(grad(cube)))(2.0) == 6.0
    assert jvp(grad(cube), (2.0,), (1.0,)) == (12.0, 12.0)
    assert jit(grad(cube))(2.0) == 12.0
    assert grad(jit(cube))(2.0) == 12.0

    def outer(a: float) -> Any:
        inner = grad(lambda x: a * x * x)
        value, pull = vjp(lambda x: x * a * x, 3.0)
        return inner(a) + pull(1.0)[0] + value

    assert grad(outer)(2.0) == pytest.approx(4 * 2.0 + 6.0 + 9.0)
    hessian = jit(lambda x: jvp(grad(lambda v: (v**3).sum()), (x,), (np.ones(3),))[1])
    np.testing.assert_allclose(hessian(X), 6 * X)


def test_gradients_leave_the_arguments_alone() -> None:
    def f(x: np.ndarray) -> Any:
        x *= 2.0
        x[0] = 1.0
        return (x * x).sum()

    x = X.copy()
    g = grad(f)(x)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(g, [0.0, 8 * X[1], 8 * X[2]])
    jit(f)(x)
    np.testing.assert_array_equal(x, [1.0, 2 * X[1], 2 * X[2]])


def test_identity_of_results() -> None:
    y = X.copy()
    assert jit(lambda x: x)(y) is y
    view = jit(lambda x: x[1:])(y)
    assert view.base is y
    flipped = jit(lambda x: x[::-1][None])(y)
    assert np.shares_memory(flipped, y) and flipped.shape == (1, 3)
    np.testing.assert_array_equal(flipped, y[::-1][None])
    a, b = jit(lambda x: (x * 2.0,) * 2)(y)
    assert a is b


STEP = 0.5
TABLE = np.array([1.0, 2.0])
CONFIG = {"rate": 2.0, "name": "a"}


def helper(x: float) -> float:
    return x * STEP


def test_globals_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    f = jit(lambda x: helper(x) + TABLE[0] + CONFIG["rate"])
    assert f(2.0) == 4.0
    monkeypatch.setitem(globals(), "STEP", 1.5)
    assert f(2.0) == 6.0
    assert f.stats()["compiled"] == 1
    TABLE[0] = 10.0
    assert f(2.0) == 15.0
    TABLE[0] = 1.0
    monkeypatch.setitem(globals(), "TABLE", np.array([100.0, 0.0]))
    assert f(2.0) == 105.0
    monkeypatch.setitem(CONFIG, "rate", 0.0)
    assert f(2.0) == 103.0
    monkeypatch.setitem(globals(), "helper", lambda x: x * 1000.0)
    assert f(2.0) == 2100.0
    assert f.stats()["compiled"] == 2
    monkeypatch.setitem(globals(), "STEP", 3)
    assert f(2.0) == 2100.0


def test_closures_are_seen() -> None:
    k = 2.0

    def f(x: float) -> float:
        return x * k

    g = jit(f)
    assert g(3.0) == 6.0
    k = 5.0
    assert g(3.0) == 15.0
    assert g.stats()["compiled"] == 1


def test_stats_tell_why() -> None:
    f = jit(lambda x: x * 2)
    f(1.0)
    f(2.0)
    f(X)
    f(1)
    stats = f.stats()
    assert stats["compiled"] == 3
    assert stats["signatures"][0]["reason"] == "first call"
    assert {"trace", "optimise", "lower", "compile"} <= set(stats["signatures"][0]["ms"])


def test_windows() -> None:
    f = grad(lambda x: (x * x).sum())
    assert "multiply" in f.graph(X) and "x.ct" in f.adjoint(X)
    assert "define" in f.llvm(X)
    assert "ret" in f.asm(X)
    assert "ct" in jit(lambda x: (x * x).sum()).adjoint(X)


def test_statics_decide() -> None:
    def f(x: np.ndarray, mode: str, axis: int | None) -> Any:
        if mode == "sum":
            return x.sum(axis=axis)
        return x.max(axis=axis)

    m = np.arange(6.0).reshape(2, 3)
    g = jit(f)
    for mode in ("sum", "max"):
        for axis in (None, 0, 1, 0):
            np.testing.assert_array_equal(g(m, mode, axis), f(m, mode, axis))


def test_partial_and_threads() -> None:
    f = jit(functools.partial(scaled, k=1.0))
    assert f(3.0) == 18.0
    g = grad(lambda x: (np.sin(x) * x).sum())
    want = np.cos(X) * X + np.sin(X)
    failures: list[Any] = []

    def work() -> None:
        for _ in range(200):
            if not np.allclose(g(X), want):
                failures.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert g.stats()["compiled"] == 1


def test_subclasses_and_cycles_are_refused() -> None:
    with pytest.raises(jitgrad.ArgumentError, match="JG104"):
        jit(lambda x: x)(np.ma.masked_array(X))
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(jitgrad.ArgumentError, match="JG103"):
        jit(lambda x: 1.0)(loop)
    with pytest.raises(jitgrad.ArgumentError, match="JG107"):
        grad(3.0)  # type: ignore[arg-type]
    with pytest.raises(jitgrad.ArgumentError, match="JG108"):
        y = X.copy()
        jit(lambda a, b: a.__iadd__(b) is None)(y, y[::-1])


def test_arrays_of_rank_0() -> None:
    a = np.array(2.0)
    assert jit(lambda x: x * 2)(a) == 4.0
    made = jit(lambda x: np.where(x > 0.1, x, 1.0))(0.5)
    assert type(made) is np.ndarray and made.shape == () and made == 0.5
    g = grad(lambda x: x * x)(a)
    assert type(g) is np.ndarray and g == 4.0

    def tripled(x: np.ndarray) -> np.ndarray:
        x[()] = x * 3.0
        return x

    b = np.array(2.0, dtype=np.float32)
    assert jit(tripled)(b) is b and b == 6.0


AXES: Any = (1, 2)


def test_constants_are_compared_by_type(monkeypatch: pytest.MonkeyPatch) -> None:
    f = jit(lambda x: x * AXES[0] + len(AXES))
    assert type(f(1)) is int
    monkeypatch.setitem(globals(), "AXES", (1.0, 2))
    assert type(f(1)) is float
    monkeypatch.setitem(globals(), "AXES", (True, 2))
    assert f(2) == 4
    g = jit(lambda x, options: x * options[0])
    assert type(g(3, (2, "a"))) is int and type(g(3, (2.0, "a"))) is float


class Named:
    """An object of the user's."""

    def __init__(self, x: Any) -> None:
        self.x = x


@pytest.mark.parametrize(
    ("made", "named"),
    [(lambda x: [x], "a list"), (lambda x: {"x": x}, "a dict"), (lambda x: x > 0, "a bool scalar"), (Named, "a Named")],
)
def test_a_result_that_is_no_float_is_named_in_the_words_of_the_user(made: Any, named: str) -> None:
    with pytest.raises(DifferentiationError, match=f"returned {named}\n"):
        grad(made)(2.0)
