"""Arrays that a loop carries as choices, and arrays whose length changes in it: identity, types, what stays refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import UnsupportedError
from jitgrad.trace import loops
from tests.trace.calling import check_compiled, check_derivatives

X = np.array([0.5, -1.25, 2.0])


def _exchanged(x: np.ndarray, y: np.ndarray, n: int) -> Any:
    for i in range(n):
        if x[i] > 0.0:
            x, y = y, x
        x[0] += 1.0
    return x, y


def _last_positive(x: np.ndarray, y: np.ndarray, n: int) -> Any:
    kept = x
    for i in range(n):
        kept = y if y[i] > 0.0 else kept * 2.0
        kept[i] -= 0.25
    return kept, x[0] + y[1]


def _waves(x: np.ndarray, y: np.ndarray, n: int) -> Any:
    for i in range(n):
        y[1:] += 0.5 * x[:-1]
        x[:-1] -= y[1:]
        y[i] *= x[0]
        x, y = y, x
    return x, y


def _new_now_and_then(x: np.ndarray, y: np.ndarray, n: int) -> Any:
    for i in range(n):
        y[1:] += 0.5 * x[:-1]
        x[i] = y[0]
        if x[i] > 1.0:
            x = x * 2.0
        x, y = y, x
    return x, y


def _chosen_before(x: np.ndarray, y: np.ndarray, n: int) -> Any:
    u, v = (x, y) if x[0] > 0.0 else (y, x)
    for i in range(n):
        u[i] += v[0]
        v[1:] *= u[:-1]
        if v[1] > u[1]:
            u, v = v, u
    return u, v


def _rotated(x: np.ndarray, y: np.ndarray, n: int) -> Any:
    z = x[::-1] + y
    for i in range(n):
        z[1:] += x[:-1]
        y[i] += z[0]
        x, y, z = y, z, x
    return x, y, z


_EXCHANGES = [_exchanged, _last_positive, _waves, _new_now_and_then, _chosen_before, _rotated]


@pytest.mark.parametrize("function", _EXCHANGES)
@pytest.mark.parametrize("n", [0, 1, 2, 3])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_results_are_the_arrays_that_python_returns(function: Callable[..., Any], n: int, sign: float) -> None:
    """The caller's arrays come back as themselves where Python returns them, with what was stored into them."""
    seen = []
    for f in (function, jitgrad.jit(function)):
        x, y = sign * X, np.array([0.25, 1.5, -0.75])
        made = f(x, y, n)
        seen.append(([[r is a for a in (x, y)] for r in made], [np.asarray(r) for r in made], [x, y]))
    (want_ids, want, want_args), (got_ids, got, got_args) = seen
    assert got_ids == want_ids
    for g, w in zip(got + got_args, want + want_args, strict=True):
        np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize("function", _EXCHANGES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_both_modes_through_exchanges(function: Callable[..., Any], sign: float) -> None:
    def f(x: np.ndarray, y: np.ndarray) -> Any:
        made = function(x, y, 3)
        return np.sum(made[0] * np.arange(1.0, 4.0)) + np.sum(np.sin(made[1]) + x)

    x, y, tx, ty = sign * X, np.array([0.25, 1.5, -0.75]), np.array([0.5, 1.0, -0.25]), np.array([1.0, 0.25, 0.5])
    gx, gy = jitgrad.grad(f, argnums=(0, 1))(x, y)
    _, tangent = jitgrad.jvp(f, (x, y), (tx, ty))
    want = (f(x + 1e-6 * tx, y + 1e-6 * ty) - f(x - 1e-6 * tx, y - 1e-6 * ty)) / 2e-6
    assert gx @ tx + gy @ ty == pytest.approx(tangent, rel=1e-10)
    assert tangent == pytest.approx(want, rel=1e-6)


def test_names_of_the_callers_arrays_are_two_way_choices() -> None:
    """No copy is kept of an array that is always one of the caller's."""
    text = str(jitgrad.jit(_waves).graph(X.copy(), X + 1.0, 3))
    assert "undef" not in text


def _exchanged_often(x: np.ndarray, n: int) -> Any:
    u, v = x.copy(), 2.0 * x
    for _ in range(n):
        if u[0] > v[0]:
            u, v = v, u
        u[1] += 0.5 * v[2]
    return (u * v).sum()


def _grows(x: np.ndarray, n: int) -> Any:
    a = x
    for _ in range(n):
        a = np.append(a, 0.5 * a[-1])
    return a.sum()


@pytest.mark.parametrize("function", [_exchanged_often, _grows])
def test_one_compile_for_all_counts_of_trips(function: Callable[..., Any]) -> None:
    gradient = jitgrad.grad(function)
    for n in (0, 1, 2, 7, 40):
        got = gradient(X, n)
        steps = np.eye(3) * 1e-6
        want = [(function(X + d, n) - function(X - d, n)) / 2e-6 for d in steps]
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)
    assert gradient.stats()["compiled"] == 1


def _store_through_a_part_or_a_copy(x: np.ndarray, n: int) -> Any:
    r = x
    for _ in range(n):
        r = r[1:] if x[0] > 0.0 else np.append(r, 1.0)
        r[:1] = 7.0
    return x.sum()


def _item_of_a_list(x: np.ndarray, n: int) -> Any:
    out = []
    for _ in range(n):
        out.append(x)
    out[1][0] = 5.0
    return np.array(out)


@pytest.mark.parametrize(
    ("function", "other"),
    [(_store_through_a_part_or_a_copy, "for _ in range(n):"), (_item_of_a_list, "out.append(x)")],
)
def test_a_refused_store_names_both_lines(function: Callable[..., Any], other: str) -> None:
    with pytest.raises(UnsupportedError, match="JG241") as caught:
        jitgrad.jit(function)(X.copy(), 3)
    assert caught.value.location is not None
    named = re.findall(r"test_carried\.py:(\d+)", str(caught.value).split("\n")[0])
    lines = Path(__file__).read_text().split("\n")
    assert any(other in lines[int(number) - 1] for number in named), str(caught.value)


def test_an_array_that_changes_its_rank_is_refused_with_the_loop() -> None:
    def function(x: np.ndarray, n: int) -> Any:
        for _ in range(n):
            x = x[None]
        return x

    with pytest.raises(UnsupportedError, match=r"JG243: x changes its type in a loop \(.*test_carried\.py:\d+\)"):
        jitgrad.jit(function)(X, 3)


def test_a_list_of_ints_or_floats_makes_the_array_that_numpy_makes() -> None:
    def function(x: np.ndarray, n: int) -> Any:
        xs = []
        for k in range(n):
            xs.append(max(0, x[k]))
        return np.array(xs)

    compiled = jitgrad.jit(function)
    for x, n in ((X, 3), (-np.abs(X), 3), (-np.abs(X), 0), (np.abs(X), 2)):
        got, want = compiled(x, n), function(x, n)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def _depth_from_outside_a_comprehension(x: np.ndarray, k: int) -> Any:
    def basis(i: int, p: int, u: Any) -> Any:
        return 1.0 + 0.0 * u if p == 0 else u * basis(i, p - 1, u) + basis(i + 1, p - 1, u)

    return np.array([sum(basis(i, k, u) for i in range(3)) for u in x])


def _rank_from_outside_a_comprehension(x: np.ndarray, k: int) -> Any:
    return sum(u * x.reshape(k, -1)[0, 0] for u in x)


def _changed_by_a_closure(x: np.ndarray, k: int) -> Any:
    count, total = 0, 0.0

    def add(u: Any) -> None:
        nonlocal count, total
        count += 1
        total = total * k + u * count

    for u in x:
        add(u)
        k = k + 1 if u < 0 else k
    return total + count, k


@pytest.mark.parametrize(
    "function", [_depth_from_outside_a_comprehension, _rank_from_outside_a_comprehension, _changed_by_a_closure]
)
def test_variables_of_closures_are_carried_where_they_change(function: Callable[..., Any]) -> None:
    compiled = jitgrad.jit(function)
    for k in (1, 3):
        np.testing.assert_allclose(compiled(X, k), function(X, k), rtol=1e-12)


def _exchanged_for_views(x: np.ndarray, y: np.ndarray, n: int) -> Any:
    z, total = x * 2.0, 0.0
    for i in range(n):
        z, x, y = x, y, z
        y = y[:]
        total += x[i % 3] * z[0]
    return total, x.copy(), y.copy(), z.copy()


def test_names_that_are_exchanged_for_views_of_each_other() -> None:
    compiled = jitgrad.jit(_exchanged_for_views)
    for n in (2, 0, 5):
        for got, want in zip(compiled(X, X + 1.0, n), _exchanged_for_views(X, X + 1.0, n), strict=True):
            np.testing.assert_array_equal(got, want)


def test_an_array_that_becomes_one_of_several_values_is_no_choice_of_others() -> None:
    """Names are exchanged, and one is then an array of another type: where arrays lie between trips changes."""

    def f(u: np.ndarray, x: float, n: int) -> Any:
        v, w, h = u, np.ones(3), np.ones(3, np.float32)
        for i in range(n):
            h += v
            v[0] *= 0.5
            if i != x:
                v, w = w, v
                w = h
        return u.copy(), v.copy(), w.copy(), h.copy()

    compiled = jitgrad.jit(f)
    for x in (0.0, 1.0, 7.0):
        for n in range(4):
            mine, its = X.copy(), X.copy()
            for got, want in zip((*compiled(mine, x, n), mine), (*f(its, x, n), its), strict=True):
                assert got.dtype == want.dtype
                np.testing.assert_array_equal(got, want)


def _smoothed(a: np.ndarray, n: int) -> Any:
    s = 3.0
    for i in range(n):
        s = 0.9 * s + 0.1 * a[i]
    return s


def _not_exact(a: np.ndarray, n: int) -> Any:
    s = 0.1
    for i in range(n):
        s = 0.8 * s + a[i]
    return s


def _one_after_the_other(a: np.ndarray, n: int) -> Any:
    s, t = 0.1, 0.3
    for i in range(n):
        s = 0.8 * s + t
        t = a[: i + 1].max()
    return s, t


def _moved(a: np.ndarray, n: int) -> Any:
    s, i = 0.0, 0
    while i < n:
        s = (s + 0.1) * 3.0 + a[i]
        i += 1
    return s


def _in_a_loop_within(a: np.ndarray, n: int) -> Any:
    s = 5.0
    for i in range(n):
        for j in range(i):
            s = s / 3.0 - 0.7 * s + a[i] * a[j]
    return s


def _both(a: np.ndarray, n: int) -> Any:
    s, t = 3.0, 0.5
    for i in range(n):
        s, t = s * t / 0.3 + a[i], t * a[i]
    return s, t


def _summed(a: np.ndarray, n: int) -> Any:
    s, t, best = 0.0, 1.0, 0.0
    for i in range(n):
        for j in range(n):
            s += a[i] * a[j]
        t *= a[i]
        best = max(best, a[i])
    return s, t, best


@pytest.mark.parametrize(
    "function", [_smoothed, _not_exact, _one_after_the_other, _moved, _in_a_loop_within, _both, _summed]
)
def test_numbers_that_meet_an_array_of_32_bits(function: Callable[..., Any]) -> None:
    """Python's numbers have 64 bits until they meet a number of the array's: in the first trip, or the second."""
    compiled = jitgrad.jit(function)
    rng = np.random.default_rng(0)
    for n in range(5):
        for _ in range(20):
            a = rng.normal(size=5).astype(np.float32)
            assert repr(compiled(a, n)) == repr(function(a, n))


def test_a_sum_of_32_bits_is_one_loop() -> None:
    """No trip is traced by itself where that is the same."""
    assert jitgrad.jit(_summed).graph(np.ones(5, np.float32), 3).count(" = for ") == 2


def _grown_tuple(a: np.ndarray, n: int) -> Any:
    t = ()
    for i in range(n):
        t = (*t, a[i % 3])
    return sum(t), len(t)


def _grown_from_one(a: np.ndarray, n: int) -> Any:
    t = (1.0,)
    for i in range(n):
        t += (a[i % 3], 2.0)
    return t[-1] * t[0], len(t)


def _shrunk_tuple(a: np.ndarray, n: int) -> Any:
    t = (a[0], a[1], a[2], 4.0)
    for _ in range(n):
        t = t[1:]
    return t[0] * 2.0, len(t)


def _of_another_length(a: np.ndarray, n: int) -> Any:
    t = (a[0], a[1])
    for i in range(n):
        t = (a[i % 3] * t[0],)
    return sum(t), len(t)


def _in_a_list(a: np.ndarray, n: int) -> Any:
    paths = [(a[0],), (a[1],)]
    for i in range(n):
        paths[i % 2] += (a[i % 3],)
    return sum(paths[0]) - 2.0 * sum(paths[1]), len(paths[0])


def _moved_window(a: np.ndarray, n: int) -> Any:
    t = (a[0], a[1])
    for i in range(n):
        t = (*t[1:], a[i % 3] * t[0])
    return t[0] - t[1], len(t)


@pytest.mark.parametrize(
    "function", [_grown_tuple, _grown_from_one, _shrunk_tuple, _of_another_length, _in_a_list, _moved_window]
)
def test_tuples_that_change_their_length(function: Callable[..., Any]) -> None:
    compiled = jitgrad.jit(function)
    for n in (0, 1, 2, 3):
        assert compiled(X, n) == function(X, n)
    gradient = jitgrad.grad(lambda a: function(a, 3)[0])(X)
    h, t = 1e-6, np.array([0.3, -0.5, 0.7])
    quotient = (function(X + h * t, 3)[0] - function(X - h * t, 3)[0]) / (2.0 * h)
    assert gradient @ t == pytest.approx(quotient, rel=1e-6, abs=1e-9)


def test_a_tuple_that_grows_until_data_say_so_is_refused() -> None:
    def f(a: np.ndarray) -> Any:
        t, s = (), 0.0
        while s < a[2]:
            t = (*t, s)
            s += 0.5
        return len(t) * a[0]

    with pytest.raises(UnsupportedError):
        jitgrad.jit(f)(X)


def _other_dicts(a: np.ndarray, n: int) -> Any:
    d = {"sum": 0.0, "pair": [1.0, a[0]], "inner": {"k": a[1]}, "row": a * 1.0}
    for i in range(n):
        if d["pair"][0] > 0.0:
            d["pair"] = [d["pair"][1] * 1.5, 0.5]
        for _ in range(i):
            d["inner"] = {"k": d["inner"]["k"] + d["pair"][0]}
        d = {**d, "sum": d["sum"] + d["inner"]["k"]}
        d["row"][0] *= 0.5
    return d["sum"], d["row"], sum(d["pair"])


def _other_lists(a: np.ndarray, n: int) -> Any:
    c = [a * 1.0, [a[0], 1.0]]
    while len(c[0]) > 0 and c[1][1] < n:
        if c[1][0] > 0.3:
            c[1] = [c[1][0] * 0.5, c[1][1] + 1.0]
        c = [c[0] * c[1][0], [c[1][0], c[1][1] + 1.0]]
        c[0][0] += c[1][0]
    return c[0], c[1][0]


@pytest.mark.parametrize("function", [_other_dicts, _other_lists])
@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_containers_of_containers_that_are_others_in_each_trip(function: Callable[..., Any], n: int) -> None:
    """What nobody leads to any more at the end of a trip, and what is in it, is nothing to compare with."""
    check_compiled(function, (X, n), 1e-12)
    check_derivatives(lambda a: function(a, n), X, 3, 1e-5)


def test_a_loop_over_two_buffers_is_traced_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    # Once to find out that they are exchanged, once with what follows of it.
    def steps(u: np.ndarray, n: int) -> Any:
        before, now = u.copy(), u.copy()
        for _ in range(n):
            before[1:] = 2.0 * now[:-1] - before[1:]
            before, now = now, before
        return np.sum(now * now)

    traced: list[Any] = []
    body = loops._body
    monkeypatch.setattr(loops, "_body", lambda *given: traced.append(1) or body(*given))
    compiled = jitgrad.jit(steps)
    assert compiled(X, 4) == pytest.approx(steps(X, 4))
    assert len(traced) == 2
    assert compiled(X, 1) == pytest.approx(steps(X, 1))
    assert jitgrad.grad(steps)(X, 3) == pytest.approx(
        [(steps(X + e, 3) - steps(X - e, 3)) / 2e-6 for e in 1e-6 * np.eye(3)], rel=1e-6
    )
