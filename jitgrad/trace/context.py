"""What all rooms of the tracer share: the graph under construction, the heap, the place in the user's source.

A `Context` is one trace. Rooms are functions that take it: `binary(ctx, "+", x, y)`. It knows how to report an
error at the current line and how to make graph values from numbers; it knows nothing of bytecode.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from jitgrad.errors import TABLE, JitgradError, error
from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Value
from jitgrad.graph.ops.memory import Pick, load
from jitgrad.graph.types import ArrayType, Dim
from jitgrad.location import Location
from jitgrad.pytree import Size
from jitgrad.trace.abstract import AnyOf, Cell, OneOf, Poison, Ref, Scalar

__all__ = ["PACKED", "PYTHON_DTYPES", "Context", "NeedStatic", "Unified", "kind_of_python"]

PYTHON_DTYPES: dict[str, np.dtype] = {
    "bool": np.dtype(np.bool_),
    "int": np.dtype(np.int64),
    "float": np.dtype(np.float64),
    "complex": np.dtype(np.complex128),
}


# Known things in lists that grow: what uses an item is traced for each.
_MANY_OBJECTS = 8
# Kinds of lists that grow whose items hold numbers of several kinds, with the place of each.
PACKED: dict[str, tuple[str, ...]] = {"either": ("float", "numpy"), "number": ("float", "numpy", "int")}


def kind_of_python(value: Any) -> str | None:
    """Return the scalar kind of a known Python or NumPy number, None for anything else."""
    if isinstance(value, np.generic):
        return "numpy" if value.dtype.kind in "biufc" else None
    if type(value) in (bool, int, float, complex):
        return type(value).__name__
    return None


class Unified(Exception):
    """Two dimensions were found to be one; what met them is to be evaluated again."""


class NeedStatic(Exception):
    """The trace must begin again with an int argument, or a size of an argument, known."""

    def __init__(self, leaf: int | Size, why: str) -> None:
        super().__init__(why)
        self.leaf = leaf
        self.why = why


class _Scope:
    """What is known of dimensions in a block: arithmetic that was done, and values that are equal to others."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.made: dict[Any, Value] = {}
        self.same: dict[Value, Dim] = {}


class Context:
    """One trace.

    Attributes
    ----------
    graph : Graph
        The outermost graph; hidden inputs become its arguments.
    g : Builder
        Where ops go now.
    heap : dict of Cell to abstract contents
        Arrays: the Value they hold. Lists: a tuple of items. Records and dicts: a tuple of pairs. Variables shared by
        closures: their abstract value.
    location : Location or None
        The user's line being evaluated.
    observe_arguments : bool
        Whether the caller sees what happens to its arrays.
    visible : dict of Cell to Value
        Arrays whose contents the caller sees, and the graph arguments that they are.
    read_only, refused_stores : set of Cell
        Those that may not be stored to in this call, and those of them where it was tried.
    layouts : dict of Cell or Value to layout
        How arrays lie in memory of which it is known, as an `ArraySpec` says it, and None for others than in C order
        that may be in any: arguments, as cells and as values, and some that the program makes.
    argument_leaf : dict of Value to int or Size
        Graph arguments that are numbers, and which leaf or size of the call they are.
    least_sizes : dict of Value to int
        Run-time sizes of the arguments, and how large each is at least.
    sizes_now : dict of Value to int
        What they are in the call for which the trace is made.
    trips : dict of Value to Value
        Indices of counted loops, and the number of trips in a loop that makes any.
    spans : dict of Value to Value
        Counts that are another number where that is positive, else 0.
    accepted : collection of (str, str)
        Checks, by location and message, that may refuse a call at run time although sizes of arguments take part.
    unsure : set of Ref
        Views that may be the very array instead, as data decide.
    arm_start : dict of Cell to contents
        The heap at the beginning of the innermost arm of a branch.
    lapack : bool
        Whether what runs the graph has LAPACK.
    """

    observe_arguments = False
    lapack = True

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.g = Builder(graph)
        self.heap: dict[Cell, Any] = {}
        self.scopes = [_Scope(graph)]
        self._scope_of = {self.scopes[0].block: self.scopes[0]}
        self._births: dict[Value, int] = {}
        self.visible: dict[Cell, Value] = {}
        self.read_only: set[Cell] = set()
        self.refused_stores: set[Cell] = set()
        self.arm_start: dict[Cell, Any] = self.heap
        self.layouts: dict[Cell | Value, Any] = {}
        self.unsure: set[Ref] = set()
        self.argument_leaf: dict[Value, int | Size] = {}
        self.least_sizes: dict[Value, int] = {}
        self.sizes_now: dict[Value, int] = {}
        self.trips: dict[Value, Value] = {}
        self.spans: dict[Value, Value] = {}
        self.accepted: Collection[tuple[str, str]] = ()
        # Kinds of the numbers in lists that grow: their cells hold one graph value, which knows no kind.
        self.list_kinds: dict[Cell, str] = {}
        # The known things that lists of kind "object" hold, which have their places.
        self.objects: list[Any] = []
        # Where arrays of a type lie that are items of lists, if they may be so in several places.
        self.pools: dict[ArrayType, Cell] = {}
        # Stands for all that caches of functions hold (`cached_calls.py`), if there are any.
        self.memory: Cell | None = None

    # --- places and errors

    @property
    def location(self) -> Location | None:
        """The user's line being evaluated, with the calls that led to it."""
        return self.g.location

    @location.setter
    def location(self, location: Location | None) -> None:
        self.g.location = location

    def error(self, code: str, **fields: Any) -> JitgradError:
        """Return an error of the table at the current line."""
        return error(code, self.location, **fields)

    # --- rooms that call back into the evaluator

    def call(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any] | None = None) -> Any:
        """Call an abstract callable with abstract arguments and return its abstract result."""
        raise NotImplementedError

    def conflict(self, cell: Cell) -> None:
        """Raise if a store to a cell could be seen through a name that was merged by value."""
        raise NotImplementedError

    def tell_apart(self, a: Cell, b: Cell) -> None:
        """Raise if two cells may stand for one object of the program."""
        raise NotImplementedError

    def share(self, a: Cell, b: Cell) -> None:
        """Note that two cells are one array in the program: a store to one while the other is alive is refused."""
        raise NotImplementedError

    def indexes_at_run_time(self, loop: Any) -> bool:
        """Whether lists are indexed at run time by what a loop counts, which is not unrolled then."""
        raise NotImplementedError

    def site(self) -> Any:
        """Return what names the place of the program being traced, stably over restarts; None if it has no name."""
        raise NotImplementedError

    def take(self, cell: Cell, item: Cell) -> None:
        """Note that an array was taken from a list that grows, which has a copy: it may be any that the list holds."""
        raise NotImplementedError

    def hold(self, cell: Cell, value: Any) -> None:
        """Note that a list that grows holds an array: a store to that while the list is alive is refused."""
        raise NotImplementedError

    def note_static(self, value: Any, why: str) -> int:
        """Make a run-time int known, by unrolling the loop that counts it or by guarding it; else raise."""
        raise NotImplementedError

    def note_refusal(self, message: str, *values: Value) -> None:
        """Note that a check of some values is to be emitted which refuses a call.

        Such a check must not come from sizes of arguments being known only at run time: they are made known.
        """
        if (str(self.location), message) in self.accepted:
            return
        self.know_sizes(message.partition("\n")[0], *values)

    def refuse_unless(self, cond: Value, code: str, *values: Dim, **fields: Any) -> None:
        """Emit a check that refuses a call, with an error of the table, unless a condition of some sizes holds."""
        row = TABLE[code]
        message = f"{code}: {row.what.format(**fields)}\n{row.do}"
        self.note_refusal(message, *(v for v in values if isinstance(v, Value)))
        self.check(cond, row.kind, message)

    def know_sizes(self, why: str, *values: Value) -> None:
        """Make the sizes of arguments known from which some values are computed, if there are any."""
        todo, seen = list(values), set()
        while todo:
            v = todo.pop()
            if v in self.least_sizes:
                raise NeedStatic(self.argument_leaf[v], why)
            if v not in seen and v.op is not None and not v.op.regions:
                todo.extend(v.op.operands)
            seen.add(v)

    def refuse(self, found: Poison, name: str) -> None:
        """Raise for a value that two paths left in forms that cannot be one; unroll the loop that did it if it can be.

        Raises
        ------
        UnsupportedError
            JG240.
        """
        raise self.error("JG240", name=name, why=found.why)

    def run_generator(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run a generator to its end and return the list of what it yields."""
        raise NotImplementedError

    def generate(self, func: Any, args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...]) -> Any:
        """Return an iterator over what a generator yields."""
        raise NotImplementedError

    def live_values(self) -> list[Any]:
        """Return the abstract values of all variables that can still be used."""
        raise NotImplementedError

    def by_choice(self, run: Callable[..., Any], *args: Any) -> Any:
        """Return `run(*args)`, done once for each value that an `AnyOf` or `OneOf` among the arguments may be.

        Where what it gives differs in type as well, an `AnyOf` comes out.
        """
        raise NotImplementedError

    def with_sizes_known(self, run: Callable[[], Any], frame: Any = None) -> Any:
        """Return `run()`, done again as long as it finds sizes to be one; a frame in which it goes on is put back."""
        raise NotImplementedError

    def each_way(self, frame: Any, x: OneOf, run: Callable[[], None]) -> None:
        """Do `run()`, which goes on in a frame, once for each value that x may be, known as such in the frame."""
        raise NotImplementedError

    # --- dimensions

    @contextmanager
    def scope(self, block: Block) -> Iterator[None]:
        """Emit into a region; what becomes known of dimensions there holds there."""
        outer = self.g.block
        self.g.block = block
        self.scopes.append(self._scope_of.setdefault(block, _Scope(block)))
        try:
            yield
        finally:
            self.scopes.pop()
            self.g.block = outer

    def forget(self, block: Block) -> None:
        """Forget what is known of dimensions in a block, from which ops are removed."""
        found = self._scope_of.get(block)
        if found is not None:
            found.made.clear()
            found.same.clear()

    def canonical(self, d: Dim) -> Dim:
        """Return the dimension that stands for all those known to be equal to one."""
        while not isinstance(d, int):
            self._births.setdefault(d, len(self._births))
            for scope in reversed(self.scopes):
                if d in scope.same:
                    d = scope.same[d]
                    break
            else:
                break
        return d

    def identify(self, x: Dim, y: Dim) -> None:
        """Let the older of two dimensions, which a check has just compared, stand for both."""

        def age(d: Dim) -> tuple[int, int]:
            return (0, 0) if isinstance(d, int) else (1 if d.owner is self.graph else 2, self._births[d])

        old, new = sorted((self.canonical(x), self.canonical(y)), key=age)
        if old is new:
            raise self.error("JG900", what="a size that is known to be another is still used under its own name")
        if self.g.block is not self.scopes[-1].block or isinstance(new, int):
            raise self.error("JG218", what="a size that depends on data")
        self.scopes[-1].same[new] = old

    def shared(self, key: Any, make: Callable[[], Value]) -> Value:
        """Return what `make` made for the key before, where that is in scope."""
        for scope in reversed(self.scopes):
            if key in scope.made:
                return scope.made[key]
        made = make()
        if self.g.block is self.scopes[-1].block:
            self.scopes[-1].made[key] = made
        return made

    # --- making values

    def constant(self, value: Any, dtype: np.dtype | type | None = None) -> Value:
        """Return a constant of the graph."""
        return self.g.constant(value, np.dtype(dtype) if dtype is not None else None)

    def dim(self, d: Dim) -> Value:
        """Return a dimension as an int64 value."""
        return self.constant(d, np.int64) if isinstance(d, int) else d

    def fresh(self, value: Value, name: str = "") -> Ref:
        """Return a new array that holds a value and that no other name shares."""
        cell = Cell(name or value.name)
        self.heap[cell] = value
        return Ref(cell)

    def result(self, value: Value) -> Any:
        """Return what a NumPy function gives: a NumPy scalar for rank 0, else a new array."""
        return Scalar(value, "numpy") if value.array.rank == 0 else self.fresh(value)

    def list_item(self, cell: Cell, value: Value) -> Any:
        """Return an item of a list that grows, of the kind its items have."""
        kind = self.list_kinds.get(cell, "array")
        if kind in PACKED:
            return self._unpacked(value, kind)
        if kind == "object":
            return self._object(load(self.g, value, [Pick(0)]))
        if kind == "mixed":
            raise self.error("JG221", what="an item of a list that holds Python's numbers and NumPy's")
        if kind != "array":
            return Scalar(value, kind)
        made = self.fresh(value)
        self.take(cell, made.cell)
        return made

    def place_of(self, thing: Any) -> int:
        """Return the place in `objects` of a known thing: text, None, a member of an enumeration."""
        for k, known in enumerate(self.objects):
            if known is thing or (type(known) is type(thing) and known == thing):
                return k
        self.objects.append(thing)
        return len(self.objects) - 1

    def _object(self, place: Value) -> Any:
        """Return the known thing at a place: any of those that there are."""
        if len(self.objects) > _MANY_OBJECTS:
            raise self.error("JG221", what=f"an item of a list of more than {_MANY_OBJECTS} texts or the like")
        flags = [self.g.equal(place, self.constant(k, np.int64)) for k in range(len(self.objects) - 1)]
        return OneOf(tuple(flags), tuple(self.objects)) if flags else self.objects[0]

    def _unpacked(self, item: Value, kind: str) -> Any:
        """Return an item of a list of numbers of several kinds: its value, then the place of its kind."""
        g = self.g
        value, code = (load(g, item, [Pick(k)]) for k in range(2))
        is_numpy = g.equal(code, float(PACKED[kind].index("numpy")))
        number = Scalar(value, "mixed", is_numpy=is_numpy)
        if kind == "either":
            return number
        whole = Scalar(g.cast(value, dtype=np.int64), "int", -(2**53), 2**53)
        return AnyOf((g.equal(code, float(PACKED[kind].index("int"))),), (whole, number))

    def python_scalar(self, value: Value, kind: str, low: int | None = None, high: int | None = None) -> Scalar:
        """Return a Python number held by a value."""
        return Scalar(value, kind, low, high)

    def check(
        self,
        cond: Value,
        exception: type[BaseException],
        message: str,
        *operands: Value,
        arguments: tuple[Any, ...] | None = None,
    ) -> None:
        """Emit a check: at run time, leave with the exception unless `cond` holds."""
        attrs: dict[str, Any] = {"exception": exception, "message": message}
        if arguments is not None:
            attrs["arguments"] = arguments
        self.g.emit("check", [cond, *operands], attrs)

    def show(self, cell: Cell, argument: Value, array: Any) -> None:
        """Note that the caller sees what is stored into an array, if it sees any."""
        if not self.observe_arguments:
            return
        self.visible[cell] = argument
        if isinstance(array, np.ndarray) and not array.flags.writeable:
            self.read_only.add(cell)

    def fail(
        self,
        exception: type[BaseException],
        message: str,
        *operands: Value,
        arguments: tuple[Any, ...] | None = None,
    ) -> None:
        """Emit a check that fails, after what the caller must find in its arrays: nothing later puts it there."""
        self.commit()
        self.check(self.constant(False, np.bool_), exception, message, *operands, arguments=arguments)

    def commit(self) -> None:
        """Put what this arm of a branch has stored into the caller's arrays: no way out of it does."""
        start = self.arm_start
        changed = [c for c in self.visible if c in self.heap and self.heap[c] is not start.get(c, self.visible[c])]
        if changed:
            indices = tuple(self.visible[c].index for c in changed)
            self.g.emit("commit", [self.heap[c] for c in changed], {"arguments": indices})

    def array_type(self, value: Value) -> ArrayType:
        """Return the array type of a value."""
        return value.array
