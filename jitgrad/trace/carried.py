"""Arrays that a loop carries as choices: a store is made through one of several names of what may be one array.

In: the parts of a header that hold arrays, the state at the back edge. Out: for each such part the arrays that it may
be at the head, which of them it is, and where the arrays lie that the body makes. An array that exists outside of the
loop is itself in every trip. One that the body makes moves, at the back edge, to the *home* of the first variable that
holds it: so two variables hold one cell exactly where Python has one array. Where no store asks for this, a header
copies by value instead, which is cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from jitgrad.graph.ir import Block, Value
from jitgrad.graph.types import INT64, ArrayType, Type
from jitgrad.trace.abstract import Box, Cell, Ref, TaggedRef, View
from jitgrad.trace.arrays import array_type
from jitgrad.trace.fitting import Fitting, Part
from jitgrad.trace.frame import State, looking_at
from jitgrad.trace.identity import UNKNOWN
from jitgrad.trace.inspection import form_of, reachable, undefined, values_in
from jitgrad.trace.obligations import Restart
from jitgrad.trace.paths import Get

__all__ = ["Carried"]

# Arrays that one variable may be at a loop's head: every store to it is traced for each.
_MANY = 12
# Numbers of a view that nobody looks through: a position, a step.
_ANY_NUMBER = (0, 1)


@dataclass(frozen=True, slots=True)
class _Choice:
    """An array that a variable may be at the head; `moves` says whether the numbers of its view are slots."""

    cell: Cell
    view: View
    moves: bool = False


def _refs_of(x: Any) -> tuple[Ref, ...]:
    if isinstance(x, TaggedRef):
        return x.choices
    return (x,) if isinstance(x, Ref) else ()


class Carried(Fitting):
    """The part of a header that carries arrays as choices.

    Attributes
    ----------
    choices : dict
        Path of each variable so carried to the arrays that it may be.
    homes : dict
        Path and type to the cell where an array of the body lies between trips.
    body : Block
        Where the body is traced: what it computes is not known outside.
    """

    body: Block
    live: list[Cell]
    make: Callable[[Type, str], Value]
    choices: dict[Any, list[_Choice]]
    homes: dict[tuple[Any, ArrayType], Cell]
    chosen: dict[Any, Part]
    _slot: Callable[[Type, Callable[[], Value], Get, str], Value]
    _roots: Callable[[State], list[Any]]

    @property
    def by_choice(self) -> bool:
        """Whether a store in the loop needs to know which arrays its variables are."""
        return self.whole in self.ev.obligations.tagged

    # --- building

    def _carried(self, path: Any, v: Any, get: Get, name: str) -> Any:
        """Return what stands for an array at the head: one of its choices."""
        ev = self.ev
        with looking_at(ev, self.entry.heap):
            t = array_type(ev, v)
        known = self.choices.setdefault(path, [])
        for r in _refs_of(v):
            if r.cell not in self.made_up:
                self._admit(path, r.cell, r.view, name)
        if not known:
            known.append(_Choice(self._home(path, t, name), ()))
        part = Part(path, get, None, name, True)
        self.chosen[path] = part
        for (owner, kept), home in list(self.homes.items()):
            if owner == path:
                self.heap[home] = self._slot(
                    kept, partial(undefined, ev, kept), partial(self._content_of_home, path, kept, home), name
                )
        tag = None
        if len(known) > 1:
            first = partial(self._which, path, v, self.entry)
            tag = self._slot(INT64, first, lambda s: self._which(path, get(s), s), "")
        refs = tuple(Ref(c.cell, self._view_of(path, v, get, i)) for i, c in enumerate(known))
        part.head = refs[0] if tag is None else TaggedRef(tag, refs)
        self.parts.append(part)
        return part.head

    def _view_of(self, path: Any, v: Any, get: Get, at: int) -> View:
        """Return the view of a choice at the head, its numbers slots if they move."""
        choice = self.choices[path][at]
        if not choice.moves:
            return choice.view
        links: list[Any] = []
        for i, link in enumerate(choice.view):
            if not isinstance(link, Box):
                links.append(link)
                continue
            entries = []
            for j, e in enumerate(link.entries):
                # A length is part of the type; positions and steps move.
                slots = [self._number_slot(path, v, get, at, (i, j, f)) for f in range(min(len(e), 2))]
                entries.append(type(e)(*slots, *e[2:]))
            links.append(replace(link, entries=tuple(entries)))
        return tuple(links)

    def _number_slot(self, path: Any, v: Any, get: Get, at: int, place: tuple[int, int, int]) -> Value:
        return self._slot(
            INT64,
            lambda: self._number_at(path, v, self.entry, at, place),
            lambda s: self._number_at(path, get(s), s, at, place),
            "",
        )

    def _home(self, path: Any, t: ArrayType, name: str) -> Cell:
        if (path, t) not in self.homes:
            if self._inside(t.shape):
                raise self._refused([name])
            self.homes[path, t] = home = Cell(name)
            if t.rank > 1:
                self.ev.layouts[home] = None
        return self.homes[path, t]

    def _forget_homes(self, path: Any) -> None:
        """Forget where the arrays of a variable lie that may be no array now: no other variable is one of them."""
        gone = {self.homes.pop(key) for key in list(self.homes) if key[0] == path}
        for known in self.choices.values():
            known[:] = [c for c in known if c.cell not in gone]
        del self.choices[path]

    # --- what a variable is at the head, after a trip

    def _targets(self, path: Any, r: Ref, s: State) -> list[tuple[Any, list[int] | None, Cell]]:
        """Return the cells at the next head that may be an array's: the variable whose home it is, and when that is so.

        When: if that variable is one of the choices named; None where it surely is, after which nothing follows.
        """
        if r.cell in self.made_up or r.cell not in s.heap:
            return []
        if r.cell in self.live:
            return [(path, None, r.cell)]
        t = s.heap[r.cell].type
        if not isinstance(t, ArrayType):
            raise self._refused([self.chosen[path].name])
        found: list[tuple[Any, list[int] | None, Cell]] = []
        for other, part in self.chosen.items():
            refs = _refs_of(part.get(s))
            at = [k for k, own in enumerate(refs) if own.cell is r.cell]
            surely = other == path or len(at) == len(refs)
            if at or surely:
                found.append((other, None if surely else at, self._home(other, t, part.name)))
            if surely:
                break
        return found

    def _position(self, path: Any, cell: Cell, view: View) -> int | None:
        known = self.choices[path]
        form = form_of(view)
        exact = next((i for i, c in enumerate(known) if c.cell is cell and c.view == view and not c.moves), None)
        if exact is not None:
            return exact
        return next((i for i, c in enumerate(known) if c.cell is cell and c.moves and form_of(c.view) == form), None)

    def _admit(self, path: Any, cell: Cell, view: View, name: str) -> bool:
        """Let a variable be one more array at the head; return whether that is new."""
        if self._position(path, cell, view) is not None:
            return False
        known = self.choices[path]
        form = form_of(view)
        fixed: set[Any] = {d for link in view if not isinstance(link, Box) for d in values_in(link)}
        fixed |= {e[2] for link in view if isinstance(link, Box) for e in link.entries if len(e) > 2}
        if len(known) >= _MANY or self._inside(fixed):
            raise self._refused([name])
        alike = next((i for i, c in enumerate(known) if c.cell is cell and form_of(c.view) == form), None)
        if alike is not None:
            known[alike] = replace(known[alike], moves=True)
        else:
            known.append(_Choice(cell, view, self._inside(values_in(view))))
        return True

    def _inside(self, numbers: Iterable[Any]) -> bool:
        """Whether there is a number that the body computes."""
        values = {n for n in numbers if isinstance(n, Value)}
        if not values:
            return False
        return not values.isdisjoint(self.body.args) or any(r in values for op in self.body.ops for r in op.results)

    def _which(self, path: Any, x: Any, s: State) -> Value:
        """Return, as an int64 value, which of its choices a variable is in a state."""
        return self._by_tag(x, [self._which_of(path, r, s) for r in _refs_of(x)])

    def _which_of(self, path: Any, r: Ref, s: State) -> Value:
        g = self.ev.g
        targets = [(o, at, self._position(path, cell, r.view)) for o, at, cell in self._targets(path, r, s)]
        if not targets:
            return self._constant(0)
        made = self._constant(targets[-1][2])
        for other, at, position in reversed(targets[:-1]):
            made = g.select(self._is_one(other, at, s), self._constant(position), made)
        return made

    def _number_at(self, path: Any, x: Any, s: State, at: int, place: tuple[int, int, int]) -> Value:
        link, entry, field = place
        numbers: list[Value | None] = []
        for r in _refs_of(x):
            mine = any(self._position(path, cell, r.view) == at for _, _, cell in self._targets(path, r, s))
            box: Any = r.view[link] if mine else None
            numbers.append(self.ev.dim(box.entries[entry][field]) if mine else None)
        known = next((n for n in numbers if n is not None), None)
        if known is None:
            return self._constant(_ANY_NUMBER[field])
        return self._by_tag(x, [known if n is None else n for n in numbers])

    def _content_of_home(self, path: Any, t: ArrayType, home: Cell, s: State) -> Value:
        """Return what a home holds after a trip: the array that its variable is then, if the body made that."""
        x = self.chosen[path].get(s)
        contents: dict[int, Value] = {}
        for k, r in enumerate(_refs_of(x)):
            if any(cell is home for _, _, cell in self._targets(path, r, s)):
                contents[k] = s.heap[r.cell]
        kept: Value = s.heap[home] if home in s.heap else self.heap[home]
        different = list(dict.fromkeys(contents.values()))
        if len(different) < 2:
            # Where the variable is another array, nobody reads its home.
            return different[0] if different else kept
        *rest, last = contents.items()
        made: Value = last[1]
        for k, content in reversed(rest):
            with self.ev.g.region() as then:
                then.yields = [content]
            with self.ev.g.region() as other:
                other.yields = [made]
            made = self.ev.g.emit("if", [self._is_one(path, [k], s)], {}, [then, other]).result
        return made

    def _is_one(self, path: Any, at: list[int] | None, s: State) -> Value:
        """Return whether a variable is one of the choices named, in a state."""
        assert at is not None
        g, tag = self.ev.g, self.chosen[path].get(s).tag
        made: Value = g.equal(tag, self._constant(at[0]))
        for k in at[1:]:
            made = g.logical_or(made, g.equal(tag, self._constant(k)))
        return made

    def _by_tag(self, x: Any, values: list[Value]) -> Value:
        made = values[-1]
        for k, value in reversed(list(enumerate(values[:-1]))):
            if value is not made:
                made = self.ev.g.select(self.ev.g.equal(x.tag, self._constant(k)), value, made)
        return made

    def _constant(self, number: int | None) -> Value:
        assert number is not None
        made: Value = self.ev.constant(number, np.int64)
        return made

    # --- comparing with the back edge

    def _choices_fit(self, part: Part, found: Any, back: State) -> bool:
        """Whether the head knows all arrays that a variable may be after a trip."""
        if not isinstance(found, Ref | TaggedRef):
            self._other_sort(part, self.entry_value(part), found, back)
            return False
        ev = self.ev
        refs = [r for r in _refs_of(found) if r.cell not in self.made_up and r.cell in back.heap]
        with looking_at(ev, self.heap):
            before = array_type(ev, part.head)
        with looking_at(ev, back.heap):
            after = {array_type(ev, r) for r in refs}
        for other in after - {before}:
            self._resize(part, before, other, found, back)
            return False
        new = False
        for r in refs:
            for _, _, cell in self._targets(part.path, r, back):
                new |= self._admit(part.path, cell, r.view, part.name)
                if cell is not r.cell:
                    new |= self._keep_relations(r.cell, cell, back)
        return not new

    def _keep_relations(self, old: Cell, home: Cell, back: State) -> bool:
        """Record that an array that moves to a home may still be one with what it could be; whether that is new."""
        ev, obligations = self.ev, self.ev.obligations
        near = obligations.near(old)
        if old.options and ev.observe_arguments:
            self._need([k for keys in near.values() for k in keys], [old.name])
            home.options = (UNKNOWN,)
        if not near and old not in ev.read_only:
            return False
        alive = set(reachable(back.heap, self._roots(back)))
        new = False
        for cell, keys in list(near.items()):
            if cell not in alive:
                continue
            moved = self._after_trip(cell, back)
            if moved == [cell] and cell not in self.heap and all(c.arrays is not cell for c in self.heap):
                self._need(keys, [old.name, cell.name])
                raise self._refused([old.name, cell.name])
            for other in moved:
                new |= obligations.relate(home, other, keys, self.location)
        if old in ev.read_only:
            raise self._refused([old.name])
        return new

    def _after_trip(self, cell: Cell, back: State) -> list[Cell]:
        """Return the cells at the next head that may be one of the end of a trip."""
        holders = [(p, r) for p, part in self.chosen.items() for r in _refs_of(part.get(back)) if r.cell is cell]
        return [c for p, r in holders for _, _, c in self._targets(p, r, back)] or [cell]

    def _need(self, keys: Iterable[Any], names: list[str]) -> None:
        """Begin again where a merge by value in the body hides which array it hands on."""
        fresh = set(keys) - self.ev.obligations.tagged
        if fresh:
            raise Restart(fresh, f"a loop carries {' or '.join(n or 'an array' for n in names)}, stored to in it")

    def _refused(self, names: Iterable[str]) -> Exception:
        known = " and ".join(sorted({n or "an array" for n in names}))
        made: Exception = self.ev.error("JG241", names=known, where=f"the loop at {self.location}")
        return made
