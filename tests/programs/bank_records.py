"""Lists of tuples, of which data decide how many: events, stacks, queues, heaps, neighbours, tables of records.

Each list is held as one list for each part of its items; what the programs do with it is what Python does with tuples.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tests.programs.harness import program

X = np.array([0.53, 1.5, -0.75, 2.25])
Y = np.array([-0.4, 0.9, 1.35, -1.1, 0.2, 0.6])

# --- filled in a loop, read in another


@program((X, 6), (-X, 9), (0.3 * X, 0), (X, 1), wrt=0)
def neighbours(x: np.ndarray, n: int) -> Any:
    """Pairs of indices, taken apart by a loop, by position and from behind."""
    pairs = []
    for i in range(n):
        for j in range(i):
            if x[i % 4] > x[j % 4]:
                pairs.append((i, j))
    s = x[3] * 0.0
    for i, j in pairs:
        s += (x[i % 4] - x[j % 4]) ** 2
    for k in range(len(pairs)):
        s += pairs[k][0] * x[pairs[k][1] % 4]
    return s + pairs[-1][0] * x[0] + len(pairs[1:]) if pairs else s


@program((X, 5.0), (1.2 * X, 8.0), (X, 0.0), (-X, 3.0), wrt=0)
def events(x: np.ndarray, until: float) -> Any:
    """A number and a copy of an array each time that something happens, and the last of them."""
    log = []
    y, t = x.copy(), 0.0
    while t < until:
        y *= 1.0 - 0.05 * t
        t += 0.3 + 0.01 * x[1] ** 2
        if y[1] > 0.1:
            log.append((t, y.copy()))
    s = y.sum()
    for when, what in log:
        s += when * (what**2).sum()
    return s + log[-1][1][1] * log[0][0] if log else s


class Sample(NamedTuple):
    """A named item."""

    time: Any
    state: Any


@program((X, 7), (-X, 10), (X, 0), wrt=0)
def samples(x: np.ndarray, n: int) -> Any:
    """Named tuples keep their names; columns are made by comprehensions."""
    kept = [Sample(0.0, x * 2.0)]
    for i in range(n):
        if x[i % 4] > 0.0:
            kept.append(Sample(float(i), x * i))
    states = np.array([s.state for s in kept])
    return sum(s.time for s in kept) * x[0] + (states @ x).sum() + kept[-1].time


@program((X, 7), (-X, 10), (X, 0), wrt=0)
def within_each_other(x: np.ndarray, n: int) -> Any:
    """Tuples, lists and dicts inside of tuples."""
    found = []
    for i in range(n):
        if x[i % 4] > 0.0:
            found.append((i, (x[0] * i, [x[1], 2.0]), {"a": x[2], "b": i}))
    s = x.sum()
    for i, (u, (v, w)), d in found:
        s += i * u + v * w * d["a"] + d["b"]
    return s


@program((Y, 4), (-Y, 6), (Y, 0), wrt=0)
def as_an_array(y: np.ndarray, n: int) -> Any:
    """An array of a list of tuples of Python's and NumPy's numbers."""
    points = [(0.0, 1.0)]
    for i in range(n):
        if y[i] > 0.0:
            points.append((y[i], y[i] ** 2))
    table = np.array(points)
    return (table[:, 0] * table[:, 1]).sum() + table[-1] @ table[0], len(table)


@dataclass
class Particle:
    """An object whose attributes are read behind."""

    mass: Any
    place: Any


@program((Y, 4), (-Y, 6), (Y, 0), wrt=0)
def objects_and_dicts(y: np.ndarray, n: int) -> Any:
    """Objects, dicts and lists of one structure each, which nobody stores into."""
    particles, records, rows = [], [], []
    for i in range(n):
        if y[i] > 0.0:
            particles.append(Particle(1.0 + i, y[i : i + 1] * 2.0))
            records.append({"t": i, "v": y[i]})
        else:
            rows.append([i, y[i]])
    s = y[0] * 1.0
    for p in particles:
        s += p.mass * p.place[0]
    return s + sum(r["t"] * r["v"] for r in records) - sum(a * b for a, b in rows)


# --- stacks, queues, heaps


@program((X, 4), (-X, 5), (X, 0), wrt=0)
def depth_first(x: np.ndarray, n: int) -> Any:
    """A stack, whose first item has Python's numbers."""
    stack, s = [(0, 1.0)], 0.0 * x[0]
    while stack:
        depth, weight = stack.pop()
        s += weight * x[depth % 4]
        if depth < n:
            stack.append((depth + 1, weight * x[1]))
            if x[depth % 4] > 0.6:
                stack.append((depth + 2, weight * 0.5))
    return s


@program((X, 4), (0.9 * X, 3), (X, 0), wrt=0)
def breadth_first(x: np.ndarray, n: int) -> Any:
    """A front that is another list in each trip, and a deque."""
    front, s = [(0, x[0])], 0.0 * x[0]
    for _ in range(n):
        behind = []
        for depth, v in front:
            s += v
            if depth < 3:
                behind.append((depth + 1, v * x[1]))
            if v > 0.6:
                behind.append((depth + 1, v * x[2]))
        front = behind
    queue = deque([(0, x[3])])
    while queue:
        depth, v = queue.popleft()
        s -= v
        if depth < n:
            queue.append((depth + 1, v * 0.7))
            if v > 1.0:
                queue.appendleft((depth + 2, v * x[0]))
    return s + len(front)


@program((X, 0), (0.9 * X, 1), (-X, 2), wrt=0)
def shortest_paths(x: np.ndarray, n: int) -> Any:
    """Dijkstra's algorithm with a heap of distances and nodes."""
    w = np.abs(np.outer(x, x)) + 0.1 + np.arange(16).reshape(4, 4) % 5 * 0.3
    dist = np.full(4, np.inf)
    dist[0] = 0.0
    heap = [(0.0, 0)]
    while heap:
        d, u = heapq.heappop(heap)
        if d > dist[u]:
            continue
        for v in range(4):
            through = d + w[u, v]
            if (u * v + n) % 3 != 2 and through < dist[v]:
                dist[v] = through
                heapq.heappush(heap, (through, v))
    return dist[np.isfinite(dist)].sum()


@program((Y, 5), (-Y, 6), (Y, 1), wrt=0)
def heaps(y: np.ndarray, n: int) -> Any:
    """All that can be done with a heap, and what is in front of it."""
    heap = []
    for i in range(n):
        if y[i] > -1.2:
            heap.append((y[i] * (i + 1), i))
    heapq.heapify(heap)
    v, i = heapq.heapreplace(heap, (0.37 * y[0], 7))
    w, j = heapq.heappushpop(heap, (y[0] * 0.1, 8))
    s = v * i - w * j
    for k, (a, b) in enumerate(heap):
        s += (k + 1) * a + b
    for a, b in heapq.nsmallest(2, heap) + heapq.nlargest(1, heap, key=lambda p: p[1]):
        s = s * 0.5 + a * b
    return s


# --- lists and arrays of other lengths in a list


@program((X, 4, 1.3), (1.1 * X, 4, 0.9), (X, 0, 1.0), (X, 1, 1.0), wrt=0)
def neighbour_lists(x: np.ndarray, n: int, reach: float) -> Any:
    """A list of indices for each point, of any length."""
    near = []
    for i in range(n):
        own = []
        for j in range(n):
            if i != j and abs(x[i] - x[j]) < reach:
                own.append(j)
        near.append(own)
    s = x[0] * 1.0
    for i in range(n):
        for j in near[i]:
            s += (x[i] - x[j]) ** 2 * (i + 1)
    for own in near:
        s += len(own) * x[1]
        if own:
            s += own[-1] * x[2]
    return s + len(near)


@program((Y, 2.5), (-Y, 1.5), (Y, 0.0), wrt=0)
def levels(y: np.ndarray, until: float) -> Any:
    """Lists of floats beside a number, as many as data decide, taken from behind."""
    kept, t = [], 0.0
    while t < until:
        t += 0.4 + 0.1 * y[1] ** 2
        kept.append((t, [v * t for v in y if v > 0.3 * t]))
    s = y[0] * 1.0
    for when, values in kept:
        for k, v in enumerate(values):
            s += v * (k + when)
    while len(kept) > 1:
        when, values = kept.pop()
        s += len(values) * when
    return s


@program((Y, 5), (-Y, 6), (Y, 1), wrt=0)
def tails(y: np.ndarray, n: int) -> Any:
    """Arrays that get shorter, in a list."""
    parts = []
    for i in range(n):
        parts.append(y[i:] * (i + 1.0))
    s = y[0] * 1.0
    for part in parts:
        s += (part**2).sum()
    return s + parts[-1][0] * len(parts[n // 2])


# --- order


@program((X, 7), (-X, 9), (0.9 * X, 0), (X, 1), wrt=0)
def in_order(x: np.ndarray, n: int) -> Any:
    """Sorted by all parts and by keys, forwards and backwards; of equal keys the first stays the first."""
    found = []
    for i in range(n):
        if x[i % 4] > -1.0:
            found.append((i % 3, x[i % 4] * (1.0 + 0.1 * i), i))
    s = x[0] * 1.0
    for k, (a, v, i) in enumerate(sorted(found)):
        s += k * v + a * i
    found.sort(key=lambda item: item[0], reverse=True)
    for a, v, i in found:
        s = 0.9 * s + v * (i + a)
    if found:
        s += min(found, key=lambda item: item[1])[2] * max(found)[1]
    values = [v for _, v, _ in found]
    values.sort()
    return s + sum(k * v for k, v in enumerate(values))


@program((X, 6), (-X, 4), (X, 0), wrt=0)
def by_hand(x: np.ndarray, n: int) -> Any:
    """Items that change their places, are replaced, taken out and put in front; slices, sums and copies of lists."""
    p = []
    for i in range(n):
        if x[i % 4] > -3.0:
            p.append((i, x[i % 4]))
    for _ in range(len(p)):
        for i in range(len(p) - 1):
            if p[i][1] > p[i + 1][1]:
                p[i], p[i + 1] = p[i + 1], p[i]
    s = x[0] * 1.0
    for k, (i, v) in enumerate(p):
        s += k * i * v
    for i, v in reversed(p[1:]):
        s = 0.9 * s + v * i
    if len(p) > 3:
        p[-1] = (7, x[0] * x[1])
        del p[0]
        i, v = p.pop(0)
        s += i * v
        p.insert(0, (3, x[2]))
        p.extend([(1, x[1]), (2, x[2])])
        p += p[:2]
    p = p + [(4, x[3])]  # noqa: RUF005
    q = p.copy()
    q.reverse()
    p.clear()
    p.append((1, x[0]))
    return s + sum(i * v for i, v in q) + p[0][1] + len(q)


# --- through functions and objects


def _positive(x: np.ndarray, n: int) -> Iterator[tuple[int, Any]]:
    for i in range(n):
        if x[i % 4] > 0.0:
            yield i, x[i % 4] * 2.0


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Any]] = {"up": [], "down": []}

    def note(self, way: str, *what: Any) -> None:
        """Keep a tuple."""
        self.kept[way].append(what)


@program((X, 6), (-X, 9), (X, 0), wrt=0)
def told_by_others(x: np.ndarray, n: int) -> Any:
    """Generators that yield tuples, comprehensions with conditions, lists in objects."""
    recorder = Recorder()
    for i, v in _positive(x, n):
        recorder.note("up" if v > 2.0 else "down", i, v)
    both = [(i, j) for i in range(n) for j in range(i) if x[j % 4] < 1.0]
    s = sum(i * v for i, v in recorder.kept["up"]) - sum(v for _, v in recorder.kept["down"])
    return s + sum(x[i % 4] * x[j % 4] for i, j in both) + x[0]


@program((X, 6), (-X, 9), (X, 0), builds=True)
def returned(x: np.ndarray, n: int) -> Any:
    """Lists of which data decide the length, as results: of numbers, tuples, named tuples, arrays."""
    pairs, floats, mixed, rows, named = [], [], [0.0], [], []
    for i in range(n):
        if x[i % 4] > 0.0:
            pairs.append((i, x[i % 4] * 2.0))
            floats.append(float(x[i % 4]))
            mixed.append(x[0])
            rows.append((0.5 * i, x * i))
            named.append(Sample(i > 2, (i, -1)))
    return pairs, {"floats": floats, "mixed": mixed}, rows, named


@program((X, 5), (-X, 8), (X, 0), wrt=0)
def with_texts(x: np.ndarray, n: int) -> Any:
    """Texts and None among the parts, and lists of such alone."""
    log, names = [(0.0, None)], []
    t, k = 0.0, 0
    while t < n:
        t += 0.3 + 0.1 * abs(x[k % 4])
        k += 1
        if x[k % 4] > 1.0:
            log.append((t, "big"))
        elif x[k % 4] > 0.0:
            log.append((t, "small"))
        log.append((t * t, "step" if x[k % 4] > -1.0 else None))
        if x[k % 4] > 0.0:
            names.append("up")
    s = x[0] * 1.0
    for when, what in log:
        if what is None:
            s += 1.0
        else:
            s += when * 2.0 if what == "step" else when * x[1]
    return s + sum(1 for name in names if name == "up")


@program((X, 5), (-X, 8), (X, 0), builds=True)
def texts_returned(x: np.ndarray, n: int) -> Any:
    """Texts and None in lists that are returned."""
    log, names = [], []
    for i in range(n):
        if x[i % 4] > 0.0:
            log.append((i, "big" if x[i % 4] > 1.0 else None))
            names.append("up")
    return log, names


@program((Y, 5), (-Y, 6), (Y, 0), wrt=0)
def visited(y: np.ndarray, n: int) -> Any:
    """What is in a list is not taken again."""
    seen, s = [], y[0] * 1.0
    for i in range(n):
        cell = (int(y[i] * 2.0), i % 2)
        if cell not in seen:
            seen.append(cell)
            s += y[i] * len(seen)
    return s
