"""Reverse mode: a block becomes a graph that runs it forwards and then propagates cotangents backwards.

In: a block and the arguments to differentiate by. Out: a graph of the same IR, so that every transform composes with
every other. The primal is copied first and with it every check and call; the reverse code follows it (`reverse.py`),
and the copy is extended on demand by whatever the reverse code needs saved (`residuals.py`). Where arrays are
overwritten in loops both ways of having old contents are built, and the one that keeps less is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jitgrad.errors import error
from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.activity import active_values
from jitgrad.graph.diff.cotangent import Cot
from jitgrad.graph.diff.cut import NO_PLAN, Plan, choose
from jitgrad.graph.diff.frames import Frame, Nest, run
from jitgrad.graph.diff.lists import reshape_elements
from jitgrad.graph.diff.reverse import Reverse
from jitgrad.graph.diff.roundings import mark_roundings
from jitgrad.graph.diff.steep import slopes_of
from jitgrad.graph.diff.sums import mark_sums
from jitgrad.graph.ir import Block, Graph, Value, graph_of, take_apart
from jitgrad.graph.ops.shape import reshape_to
from jitgrad.graph.passes import prepare
from jitgrad.graph.passes.dce import dce
from jitgrad.graph.passes.dead_stores import dead_stores
from jitgrad.graph.types import INT64, ArrayType, ListType

__all__ = ["adjoint"]

_SIZES_DIFFER = "a cotangent has the size {} where {} is needed"


def adjoint(block: Block, wrt: Sequence[int], *, name: str = "adjoint", seeded: Sequence[int] | None = None) -> Graph:
    """Return the graph that computes a block's yields and the cotangents of some of its arguments.

    Parameters
    ----------
    block : Block
        May use values of blocks around it: those are constants.
    wrt : sequence of int
        Positions of floating-point arguments.
    name : str
        Name of the graph.
    seeded : sequence of int, optional
        Positions of the yields whose cotangents are given; by default of all floating-point yields.

    Returns
    -------
    Graph
        Arguments: the block's, then one cotangent for each of `seeded`. A dimension that the block computes cannot size
        an argument: the cotangent then has a size of its own, an int64 argument just before it, and the graph checks
        that the two are equal. Yields: the block's, then the cotangent of each of `wrt`, as zeros where nothing depends
        on it.

    Raises
    ------
    DifferentiationError
        JG301 if the derivative passes through an op that has none.
    """
    graph, _ = graph_of(block, name)
    prepare(graph)
    source = _Source(graph, wrt, seeded)
    found = _cheaper_undo(source)
    plan = found.better_plan(graph)
    if plan is not None:
        planned = _Adjoint(source, found.undo, plan)
        better = sum(planned.costs.values()) < sum(found.costs.values())
        found, other = (planned, found) if better else (found, planned)
        take_apart(other.graph)
    take_apart(graph)
    return found.finished()


def _cheaper_undo(source: _Source) -> _Adjoint:
    """Return the adjoint that undoes stores where that keeps less.

    Undoing stores keeps what is overwritten, a tape what is loaded: the cheaper is taken for each loop nest, at a tie
    the tape, which needs no copy of an array that is a result as well.
    """
    choice = _Adjoint(source, None)
    if not choice.undone:
        return choice
    tape = _Adjoint(source, frozenset())
    cheaper = frozenset(k for k in choice.undone if choice.costs.get(k, 0.0) < tape.costs.get(k, 0.0))
    found = choice if cheaper == choice.undone else _Adjoint(source, cheaper) if cheaper else tape
    for other in (choice, tape):
        if other is not found:
            take_apart(other.graph)
    return found


class _Source:
    """What is differentiated, and what all constructions of its adjoint need to know of it.

    Attributes
    ----------
    graph : Graph
    wrt, seeded : sequence of int
    active : set of Value
    slopes : Slopes
    """

    def __init__(self, graph: Graph, wrt: Sequence[int], seeded: Sequence[int] | None) -> None:
        self.graph = graph
        self.wrt = wrt
        self.seeded = [k for k, y in enumerate(graph.yields) if y.type.is_float] if seeded is None else seeded
        inputs, outputs = [graph.args[i] for i in wrt], [graph.yields[k] for k in self.seeded]
        for value in inputs + outputs:
            if not value.type.is_float:
                raise error("JG900", what=f"a derivative with respect to or of {value.type} was asked for")
        self.active = active_values(graph, inputs, outputs)
        self.slopes = slopes_of(graph, inputs, self.active)


class _Adjoint:
    """One construction of an adjoint.

    Parameters
    ----------
    source : _Source
    undo : frozenset of int, or None
        Positions of the ops of the source inside which stores are undone; None for all.
    plan : Plan
        Values of the source to save, and to make again.

    Attributes
    ----------
    graph : Graph
    undone : frozenset of int
        Positions of the ops inside which a store was undone.
    costs : dict of int to float
        For each op with regions, the estimated bytes of residuals that survive in it.
    """

    def __init__(self, source: _Source, undo: frozenset[int] | None, plan: Plan = NO_PLAN) -> None:
        self.undo = undo
        self.graph, mapping = graph_of(source.graph, source.graph.name)
        yields, self.graph.yields = self.graph.yields, []
        self._origin = {new: old for old, new in mapping.items()}
        plan = Plan(*(frozenset(mapping[v] for v in values) for values in (plan.saved, plan.again)))
        primal = list(self.graph.ops)
        self._position = position = {op: k for k, op in enumerate(primal) if op.regions}
        inputs = [self.graph.args[i] for i in source.wrt]
        active = {mapping[v] for v in source.active}
        g, nest = Builder(self.graph), Nest(self.graph)
        self.reverse = reverse = Reverse(
            g,
            nest,
            active,
            source.slopes.renamed(mapping),
            lambda op: undo is None or position[op] in undo,
            plan,
        )
        top = Frame(self.graph, None, self.graph)
        reverse.residuals.frames[self.graph] = top
        for k in source.seeded:
            y = yields[k]
            ct = _seed(g, self.graph, y)
            if y in active:
                reverse.accumulate(top, y, Cot(ct))
        run(reverse.block(top))
        g.block, g.location = self.graph, None
        cts = []
        for arg in inputs:
            cot = top.cots.get(arg)
            found = reverse.zeros_for(top, arg) if cot is None else cot.value
            cts.append(g.add(found, 0.0) if arg in reverse.parted and isinstance(arg.type, ArrayType) else found)
        nest.finish()
        self.graph.yields = [*yields, *cts]
        # Tapes and restored arrays were built before it was known who reads them; these make them free.
        dce(self.graph)
        if dead_stores(self.graph):
            dce(self.graph)
        self._primal = set(primal)
        self._measure()

    def finished(self) -> Graph:
        """Return the graph, in which is marked whose order and rounding is ours."""
        own = self._primal
        for op in self.graph.ops:
            if op not in own and op.regions:
                mark_sums(op)
        mark_roundings(self.graph, own, self.reverse.residuals.repeated)
        return self.graph

    def better_plan(self, source: Graph) -> Plan | None:
        """Return what had better be saved than what was, None if that is good enough."""
        origin, residuals = self._origin, self.reverse.residuals
        saved = [origin[v] for v in self._saved if v in origin]
        if not saved:
            return None
        held = {origin[v] for v in residuals.held if v in origin}
        reread = {origin[v] for v in residuals.reread if v in origin}
        asked = [origin[v] for v in self._asked() if v in origin]
        return choose(Nest(source), saved, asked, reread, held)

    def _asked(self) -> list[Value]:
        """Return the values of the primal that reverse code uses for more than to make others of them again."""
        primal_of, repeated = self.reverse.residuals.primal, self.reverse.residuals.repeated
        found: dict[Value, None] = {}

        def see(values: Iterable[Value]) -> None:
            found.update((primal_of[v], None) for v in values if v in primal_of)

        for op in self.graph.ops:
            if op in self._primal:
                continue
            for inner in (op, *(o for region in op.regions for o in region.walk())):
                if inner not in repeated:
                    see(inner.operands)
                    for region in inner.regions:
                        see(region.yields)
                for result in inner.results:
                    see(result.type.run_time)
        return list(found)

    def _measure(self) -> None:
        self.costs: dict[int, float] = {}
        self._saved: list[Value] = []
        kept = {r for op in self._position for r in op.results}
        for site in self.reverse.residuals.sites:
            if site.final in kept:
                at = self._position[site.outermost]
                self.costs[at] = self.costs.get(at, 0.0) + site.cost
                self._saved.append(site.value)
        done = self.reverse.undo.done
        living = set(self.graph.walk()) if done else set()
        self.undone = frozenset(self._position[outer] for outer, version in done if version.op in living)


def _seed(g: Builder, graph: Graph, y: Value) -> Value:
    """Add the argument for a yield's cotangent, and return it as a value of the yield's type."""
    name = f"{y.name}.ct" if y.name else "ct"
    computed = [d for d in y.type.run_time if d.op is not None]
    if computed:
        own = {r for op in graph.ops for r in op.results}  # others were captured
        computed = [d for d in computed if d in own]
    if not computed:
        return graph.add_arg(y.type, name)
    element = y.type if isinstance(y.type, ArrayType) else y.type.element
    sizes = {k: graph.add_arg(INT64, f"{name}.size") for k, d in enumerate(element.shape) if d in computed}
    given = element.with_shape(tuple(sizes.get(k, d) for k, d in enumerate(element.shape)))
    ct = graph.add_arg(given if isinstance(y.type, ArrayType) else ListType(given), name)
    for k, size in sizes.items():
        needed = element.shape[k]
        g.check(g.equal(size, needed), size, needed, exception=ValueError, message=_SIZES_DIFFER)
    return reshape_to(g, ct, element.shape) if isinstance(y.type, ArrayType) else reshape_elements(g, ct, element)
