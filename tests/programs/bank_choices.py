"""Values of which data decide what they are: None or a number, 0 or an array, a text or another, arrays of any length.

Most were refused before: accumulators that start as an int, the best so far that starts as None, modes as texts, early
returns of slices, stores into lists that grew.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.programs.harness import program

X = np.array([0.5, 1.5, 2.5])
A = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.25], [0.5, 0.25, 2.0]])

# --- accumulators that start as a Python number


@program((X, 3), (X, 1), (-X, 2), wrt=0)
@program((X, 0), (X, -2), (X, 2))
def sum_of_arrays(x: np.ndarray, n: int) -> Any:
    """The int itself if there is no trip."""
    s = 0
    for i in range(n):
        s = s + x * i
    return s


@program((A, 3), (A, 1), (A, 2), wrt=0)
@program((A, 0), (A, 2), (-A, 0))
def sum_of_rows(a: np.ndarray, n: int) -> Any:
    """Added in place, to an array of its own from the second trip on."""
    s = 0.0
    for row in a[:n]:
        s += row
    return s


@program((X, 3), (X, 0), (X, 1), wrt=0)
def used_behind_the_loop(x: np.ndarray, n: int) -> np.ndarray:
    """An array whatever the trip count is."""
    s = 0
    for i in range(n):
        s += x * i
    return (x - s) * 2.0


@program((X, 3), (X, 0), (X, 1), wrt=0)
def until_the_error_is_small(x: np.ndarray, n: int) -> Any:
    """A `while` of perhaps no trip."""
    total, error = 0, float(n)
    while error > 0.5:
        total = total + x * error
        error -= 1.0
    return np.sum(total) + x[0]


@program((X, 3), (X, 0), (X, 12), wrt=0)
def sum_of_a_generator(x: np.ndarray, n: int) -> np.ndarray:
    """Of arrays, and of none."""
    return sum(x * i for i in range(n)) + x * x


@program((A,), (A + np.eye(3),), (A[:1, :1].copy(),), wrt=0)
def cholesky_with_int_sums(a: np.ndarray) -> np.ndarray:
    """The inner sum starts as an int, and its loop has no trip at first."""
    n = a.shape[0]
    low = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            s = 0
            for k in range(j):
                s += low[i, k] * low[j, k]
            low[i, j] = math.sqrt(a[i, i] - s) if i == j else (a[i, j] - s) / low[j, j]
    return low


@program((A, 3), (A, 0), (A, 1), wrt=0)
def nested_sums_of_rows(a: np.ndarray, n: int) -> np.ndarray:
    """An accumulator in each of two loops."""
    total = 0
    for i in range(n):
        s = 0
        for j in range(i):
            s = s + a[j]
        total = total + s * a[i]
    return a[0] - total


@program((X, 3), (-X, 3), (X, 0), wrt=0)
def added_perhaps(x: np.ndarray, n: int) -> np.ndarray:
    """In no trip is it certain that there is an array."""
    s = 0
    for i in range(n):
        if x[i] > 1.0:
            s = s + x
    return x * x - s


@program((X, 3), (X, 0), (X[:1], 1))
def number_of_no_trip(x: np.ndarray, n: int) -> Any:
    """Python's int, NumPy's float, or Python's float."""
    s = 0
    for i in range(n):
        s += x[i]
    t = s * 2
    return s, t


@program((np.float32(2.0), 3), (np.float32(2.0), 0), (np.float32(0.5), 1))
def other_dtype_after_a_trip(x: Any, n: int) -> Any:
    """A float64 array where there was a float32 one."""
    y = np.zeros(3, np.float32)
    for _ in range(n):
        y = y + np.ones(3) * x
    return y


# --- None until there is something


@program((X, 3), (-X, 3), (X, 1), wrt=0)
@program((X, 0), (X, 1), (-X, 0))
def largest_so_far(x: np.ndarray, n: int) -> Any:
    """The common idiom."""
    best = None
    for i in range(n):
        if best is None or x[i] > best:
            best = x[i]
    return best


@program((X, 3), (X, 0), (X, 1), (-X, 3), wrt=0)
def last_that_is_large(x: np.ndarray, n: int) -> Any:
    """None as long as no item is."""
    found = None
    where = None
    for i in range(n):
        if x[i] > 1.0:
            found, where = x[i] ** 2, i
    if found is None:
        return x[0] * 3.0
    return found * (where + 1)


@program((A, 3), (A, 1), (A, 0), wrt=0)
def nearest_pair(a: np.ndarray, n: int) -> Any:
    """A tuple of indices that is None at first."""
    best, pair = None, None
    for i in range(n):
        for j in range(i):
            d = np.sum((a[i] - a[j]) ** 2)
            if best is None or d < best:
                best, pair = d, (i, j)
    if best is None or pair is None:
        return a[0, 0]
    return best * a[pair[0], pair[1]]


@program((X, 30.0), (X, 2.0), (X, 0.1), wrt=0)
def roots_until_they_agree(x: np.ndarray, most: float) -> Any:
    """None before the first trip of a `while`."""
    before, root, k = None, x[0], 0.0
    while before is None or abs(root - before) > 1e-9:
        before = root
        root = 0.5 * (root + x[1] / root)
        k += 1.0
        if k > most:
            break
    return root


@program((A, 3), (A, 1), (A, 0), wrt=0)
def row_of_the_last_trip(a: np.ndarray, n: int) -> Any:
    """A number before the loop, then another view in each trip."""
    row: Any = 0.0
    for i in range(n):
        row = a[i % 2]
    total = a[2]
    for _ in range(3):
        total = total + row
    return total


@program((A, 3), (A, 0), (A, 1), wrt=0)
def changes_between_rows(a: np.ndarray, n: int) -> float:
    """None or an array, from trip to trip."""
    before, total = None, 0.0
    for i in range(n):
        row = a[i] * 2.0
        if before is not None:
            total += float(np.sum((row - before) ** 2))
        before = row
    return total


@program((A, 3), (A, 0), (A - 2.0, 3), wrt=0)
def row_of_the_last_peak(a: np.ndarray, n: int) -> Any:
    """An array, or None in every trip."""
    best = None
    for i in range(n):
        if a[i, i] > 2.5:
            best = a[i] * 3.0
    return 0.0 if best is None else best.sum()


def _scaled(v: np.ndarray, scale: Any = None) -> np.ndarray:
    if scale is None:
        scale = v.sum()
    return v * scale


@program((X, 2.0), (-X, 2.0), (X - 2.0, 0.5), wrt=(0, 1))
def option_by_data(x: np.ndarray, scale: float) -> np.ndarray:
    """An optional argument that is given or not."""
    return _scaled(x, None if x[0] > 0.0 else scale)


@program((X, 2), (-X, 2), (-X, 0), wrt=0)
def slice_to_the_end_or_not(x: np.ndarray, n: int) -> Any:
    """None as a bound."""
    stop = None if x[0] > 0.0 else n
    return x[:stop].sum()


class _Tracker:
    def __init__(self) -> None:
        self.best: Any = None
        self.count = 0

    def see(self, v: Any) -> None:
        if self.best is None or v < self.best:
            self.best = v
            self.count += 1


@program((X, 3), (-X, 3), (-X, 1), wrt=0)
def tracked_by_an_object(x: np.ndarray, n: int) -> Any:
    """None in an attribute."""
    tracker = _Tracker()
    for i in range(n):
        tracker.see(x[i] * x[i])
    return 0.0 if tracker.best is None else tracker.best * tracker.count


# --- texts, functions, containers


@program((X,), (-X,), (X - 2.0,), wrt=0)
def mode_by_a_text(x: np.ndarray) -> np.ndarray:
    """Tested behind the branch that sets it."""
    mode = "up" if x[0] > 0.0 else "down"
    if mode == "up":
        return x * x
    elif mode == "down":
        return x * 3.0
    raise ValueError(mode)


@program((X, 3), (-X, 3), (X, 1), wrt=0)
def machine_with_texts_as_states(x: np.ndarray, n: int) -> Any:
    """A text that a loop carries."""
    state, s = "down", 0.0
    for i in range(n):
        if state == "down":
            s = s - x[i]
            if s < -1.0:
                state = "up"
        else:
            s = s + 2.0 * x[i]
            state = "down"
    return s if state == "up" else 2.0 * s


@program((X,), (-X,), (X - 2.0,), wrt=0)
def function_by_data(x: np.ndarray) -> np.ndarray:
    """Which function is called."""
    f = np.sin if x[0] > 0.0 else np.cos
    return f(x) * x


@program((X,), (-X,), (X - 2.0,), wrt=0)
def layers_by_data(x: np.ndarray) -> Any:
    """A list of one or of two arrays."""
    layers = [x, x * 2.0] if x[0] > 0.0 else [x]
    s = 0.0
    for layer in layers:
        s = s + layer.sum() * len(layers)
    return s


@program((0.5,), (-0.5,), (3.0,), wrt=0)
def items_of_two_types(x: float) -> np.ndarray:
    """An int or a float beside others in an array."""
    return np.array([max(0, x), 1]) * np.array([x, 2.0]) + max(0, x)


# --- arrays of computed length


@program((X, 3), (-X, 3), (X, 1), wrt=0)
def early_return_of_new_rows(x: np.ndarray, n: int) -> np.ndarray:
    """Of computed length inside the loop, of another behind it."""
    for i in range(n):
        if x[i] > 1.0:
            return x[i : i + 2] * 2.0
    return x * x


@program((X, 3), (-X, 3), (X, 1), builds=True)
def early_return_of_a_view(x: np.ndarray, n: int) -> Any:
    """A view of the argument, the argument itself."""
    for i in range(n):
        if x[i] > 1.0:
            return x[i : i + 2]
    return x


@program((X,), (-X,), (np.array([0.5, 0.5]),), wrt=0)
def selected_either_way(x: np.ndarray) -> Any:
    """Two selections of different length."""
    y = x[x > 1.0] if x[0] > 0.0 else x[x < -1.0]
    return y.sum() * len(y)


@program((A, 3), (-A, 3), (A, 1), wrt=0)
def first_rows(a: np.ndarray, n: int) -> np.ndarray:
    """Rows of a matrix, as many as data say."""
    for i in range(n):
        if a[i, 0] < 0.7:
            return a[: i + 1] * a[i]
    return a @ a


# --- lists that grow


@program((X, 3), (-X, 2), (X, 1), wrt=0)
def items_stored_behind(x: np.ndarray, n: int) -> np.ndarray:
    """From the end, and by an index."""
    out = []
    for i in range(n):
        out.append(x[i] * 2.0)
    out[-1] += x[0]
    out[0] = out[0] * x[1]
    return np.array(out)


@program((X, 3), (-X, 2), (X, 1), wrt=0)
def items_stored_in_the_loop(x: np.ndarray, n: int) -> Any:
    """Each trip reads, appends and stores."""
    out = [x[0]]
    for i in range(n):
        out.append(x[i] * out[-1])
        out[0] += out[i]
        out[i // 2] = x[i] ** 2
    s = 0.0
    for v in out:
        s = s + v
    return s


@program((X, 3), (-X, 2), (X, 1), wrt=0)
def rows_stored(x: np.ndarray, n: int) -> np.ndarray:
    """Arrays as items."""
    out = []
    for i in range(n):
        out.append(x * i)
    out[-1] = x * x
    return np.array(out)


@program((X, 3), (X, 2), (-X, 3))
def store_out_of_range(x: np.ndarray, n: int) -> np.ndarray:
    """An IndexError."""
    out = []
    for i in range(n):
        out.append(x[i])
    out[2] = 0.0
    return np.array(out)


@program((X, 3), (X, 2), (-X, 1), wrt=0)
def trajectory_of_copies(x: np.ndarray, n: int) -> np.ndarray:
    """An array stored to after its copy is in the list."""
    u = x * 1.0
    out = []
    for _ in range(n):
        u += 0.1 * np.sin(u)
        out.append(u.copy())
    return np.array(out)
