"""THE list of stages, from a call's signature to something that runs.

    function -> trace -> optimise -> lower -> machine code -> call

Each stage is named, timed, can be dumped (`JITGRAD_DUMP`) and is verified in tests (`JITGRAD_VERIFY=each`). Derivatives
are taken inside the trace stage, where a transform meets its function: `trace/transforms.py` calls `graph/diff`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from jitgrad.collection import rare_collections
from jitgrad.errors import ArgumentError, JitgradError, error
from jitgrad.execute import Executable, has_lapack, make_executable
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph
from jitgrad.graph.passes import PASSES, optimise
from jitgrad.graph.printer import print_graph
from jitgrad.graph.verify import verify
from jitgrad.options import OPTIONS
from jitgrad.pytree import ArraySpec, DictSpec, TupleSpec, alike, leaves_of, spec_of, with_arrays
from jitgrad.trace.guards import holds, look_up, source_text
from jitgrad.trace.traced import Traced
from jitgrad.trace.tracer import trace
from jitgrad.transform import Transform

__all__ = ["STAGES", "Specialisation", "specialise"]

STAGES = ("trace", "optimise", "lower", "compile")

T = TypeVar("T")


class Specialisation:
    """A transform compiled for one signature.

    Attributes
    ----------
    traced : Traced
    executable : Executable
    spec : TupleSpec
        Of the calls it is for: that which was asked for, but with known sizes where the program needs the number.
    signature : str
        For people.
    stage_ms : dict of str to float
        Milliseconds that each stage took.
    """

    def __init__(self, traced: Traced, executable: Executable, spec: TupleSpec, stage_ms: dict[str, float]) -> None:
        self.traced = traced
        self.executable = executable
        self.spec = spec
        self.signature = ", ".join(_leaf_text(leaf) for leaf in leaves_of(spec))
        self.stage_ms = stage_ms
        self.notes = traced.notes
        self._statics = list(traced.statics.items())
        self._hidden = [(h.source, spec_of(look_up(h.source))) for h in traced.hidden]

    @property
    def refusals(self) -> set[tuple[str, str]]:
        """Where a call may be refused by data at run time, and how."""
        checks = [op for op in self.traced.graph.walk() if op.name == "check"]
        kinds = (JitgradError, NotImplementedError)
        return {(str(op.location), op.attrs["message"]) for op in checks if issubclass(op.attrs["exception"], kinds)}

    def fits(self, leaves: list[Any]) -> bool:
        """Whether the values compiled in are those of a call, and nothing it read from outside has changed."""
        return (
            all(alike(leaves[k], v) for k, v in self._statics)
            and self._writeable(leaves)
            and all(holds(g) for g in self.traced.guards)
            and all(self._is_like(source, spec) for source, spec in self._hidden)
        )

    def _writeable(self, leaves: list[Any]) -> bool:
        """Whether the arrays that are stored to are writeable, but for those whose being read-only was compiled in."""
        traced = self.traced
        if not traced.writes and not traced.read_only:
            return True
        stored = {a for a, _ in traced.writes} | traced.read_only
        return all(self._input(a, leaves).flags.writeable == (a not in traced.read_only) for a in stored)

    def _input(self, argument: int, leaves: list[Any]) -> Any:
        known = self.traced.leaves
        return leaves[known[argument]] if argument < len(known) else look_up(self._hidden[argument - len(known)][0])

    @staticmethod
    def _is_like(source: Any, spec: Any) -> bool:
        """Whether a hidden input still has the type that the code was compiled for."""
        try:
            return bool(spec_of(look_up(source)) == spec)
        except ArgumentError:
            return False

    def misfit(self, leaves: list[Any]) -> str:
        """Return why a call does not fit."""
        for k, v in self._statics:
            if not alike(leaves[k], v):
                return f"argument {k} is {leaves[k]}, not {v}"
        for guard in self.traced.guards:
            if not holds(guard):
                return f"no longer true: {guard}"
        for source, spec in self._hidden:
            if not self._is_like(source, spec):
                return f"{source_text(source)} is of another type or shape"
        return "it was dropped" if self._writeable(leaves) else "an array is read-only, or no longer so"

    def run(self, leaves: list[Any]) -> Any:
        """Return the result of a call that fits."""
        inputs = [leaves[k] for k in self.traced.leaves]
        inputs += [look_up(h.source) for h in self.traced.hidden]
        return self.executable.run(inputs, leaves)

    @property
    def graph_text(self) -> str:
        """The optimised graph."""
        return print_graph(self.traced.graph)

    @property
    def llvm_text(self) -> str:
        """LLVM IR before LLVM's own passes."""
        return self.executable.llvm_text

    @property
    def asm_text(self) -> str:
        """Assembly."""
        return self.executable.asm_text


def specialise(
    transform: Transform, spec: Any, leaves: list[Any], accepted: Collection[tuple[str, str]] = ()
) -> Specialisation:
    """Compile a transform for the signature of a call.

    Parameters
    ----------
    transform : Transform
    spec : TupleSpec
        Of `(args, kwargs)`; a `Size` in a shape stands for any size, a `Step` in a layout for any stride.
    leaves : list
        The call's values: an int among them is compiled in if the program's shape hangs on it.
    accepted : collection of (str, str)
        The `refusals` of other specialisations, which this one may have too although a size is not known.
    """
    times: dict[str, float] = {}
    assert isinstance(spec, TupleSpec)
    args, kwargs = spec.children
    assert isinstance(kwargs, DictSpec)
    named = dict(zip(kwargs.keys, kwargs.children, strict=True))

    with rare_collections():
        # Derivatives are taken here too: a transform is applied where its function is traced.
        traced = _stage(
            "trace",
            times,
            lambda: trace(transform, args.children, named, leaves, accepted, has_lapack()),
            lambda t: t.graph,
        )
        with _faults_are_ours():
            # Before lowering: what simplification exposes (dead primal code, equal reads) must not be compiled.
            _stage("optimise", times, lambda: _optimise(traced, leaves), lambda _: traced.graph)
            _drop_unchanged(traced)
            spec = _settled(spec, traced, leaves)
            return Specialisation(traced, make_executable(traced, spec, times), spec, times)


@contextmanager
def _faults_are_ours() -> Iterator[None]:
    """Make InternalErrors (JG900) of what stages raise that run none of the program's code."""
    try:
        yield
    except (JitgradError, MemoryError, RecursionError):
        raise
    except Exception as exception:
        raise error("JG900", what=f"{type(exception).__name__} after the trace: {exception}") from exception


def _settled(spec: TupleSpec, traced: Traced, leaves: list[Any]) -> TupleSpec:
    """Return the spec of the calls that a graph is for: a size that it does not take is that of this call."""
    arrays: list[tuple[Any, Any]] = []
    for leaf, value in zip(leaves_of(spec), leaves, strict=True):
        if not isinstance(leaf, ArraySpec):
            continue
        given = zip(leaf.shape, value.shape, strict=True)
        shape = tuple(d if isinstance(d, int) or d in traced.sizes else n for d, n in given)
        layout = leaf.layout
        if not isinstance(layout, str):
            strides = zip(layout, value.strides, strict=True)
            layout = tuple(s if isinstance(s, int) or s in traced.sizes else n // value.itemsize for s, n in strides)
        arrays.append((shape, layout))
    made = with_arrays(spec, iter(arrays))
    assert isinstance(made, TupleSpec)
    return made


def _optimise(traced: Traced, leaves: list[Any]) -> None:
    """Run the passes; if the options ask for it, interpret the graph around each and name the one that is wrong."""
    if OPTIONS.verify != "values":
        optimise(traced.graph)
        return
    inputs = traced.with_sizes([leaves[k] for k in traced.leaves] + [look_up(h.source) for h in traced.hidden])
    want = _outcome(traced.graph, inputs)
    changed = True
    while changed:
        changed = False
        for run in PASSES:
            changed |= run(traced.graph)
            verify(traced.graph)
            if _outcome(traced.graph, inputs) != want:
                raise error("JG902", name=run.__name__)


def _outcome(graph: Graph, inputs: list[Any]) -> Any:
    """Return the bits of what a graph yields, or the exception that it raises."""
    try:
        made = interpret(graph, inputs)
    except Exception as exception:
        return type(exception), str(exception)
    return [(v.dtype, v.shape, v.tobytes()) for v in map(np.asarray, made)]


def _drop_unchanged(traced: Traced) -> None:
    """Forget writes of arguments that turned out to keep what they held."""
    graph = traced.graph
    committed = {k for op in graph.walk() if op.name == "commit" for k in op.attrs["arguments"]}
    kept = [(a, y) for a, y in traced.writes if graph.yields[y] is not graph.args[a] or a in committed]
    if len(kept) == len(traced.writes):
        return
    # The yields of writes come last, in order.
    first = len(graph.yields) - len(traced.writes)
    values = [graph.yields[y] for _, y in kept]
    graph.yields[first:] = values
    traced.writes[:] = [(a, first + k) for k, (a, _) in enumerate(kept)]


def _leaf_text(leaf: Any) -> str:
    if getattr(leaf, "kind", "numpy") != "numpy":
        return str(leaf.kind)
    return f"{np.dtype(leaf.dtype).name}[{', '.join(map(str, getattr(leaf, 'shape', ())))}]"


def _stage(name: str, times: dict[str, float], run: Callable[[], T], graph_of: Callable[[T], Graph]) -> T:
    """Run a stage: time it, verify and dump its graph as the options ask."""
    start = time.perf_counter()
    made = run()
    times[name] = (time.perf_counter() - start) * 1e3
    if OPTIONS.verify in ("each", "values"):
        verify(graph_of(made))
    if OPTIONS.dump in (name, "all"):
        print(f"--- after {name}\n{print_graph(graph_of(made))}", file=sys.stderr)
    return made
