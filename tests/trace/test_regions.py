"""The trees hold every block once, walk as the code does, compute what CPython does, and have the source's loops."""

from __future__ import annotations

import ast
import copy
import gc
import random
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jitgrad.errors import UnsupportedError
from jitgrad.location import Location
from jitgrad.trace import regions
from jitgrad.trace.blocks import Flow, dominators, flow_of_items
from jitgrad.trace.bytecode import Guard, Instr, Mark
from jitgrad.trace.regions import RETURN, BlockNode, CodeTree, Continue, Goto, LoopNode, structure, tree_of
from jitgrad.trace.shape import BasicBlock, natural_loops, reverse_postorder
from jitgrad.trace.uninvert import simplify, uninvert
from tests.trace import probes
from tests.trace.concrete import agree, evaluate, outcome
from tests.trace.corpus import check, files_of
from tests.trace.probes import LOOPS_THAT_DIFFER, PROBES
from tests.trace.walk import codes_in, faults, nodes_in, selectors, walk_flow, walk_tree

AT = Location("here", 1)


def _name(function: Callable[..., Any]) -> str:
    return function.__name__


@pytest.mark.parametrize("function", PROBES, ids=_name)
def test_tree_walks_as_the_code(function: Callable[..., Any]) -> None:
    for code in codes_in(function.__code__):
        assert faults(code, walks=8) == []


@pytest.mark.parametrize("function", PROBES, ids=_name)
def test_tree_computes_what_cpython_computes(function: types.FunctionType) -> None:
    for args in PROBES[function]:
        want = outcome(partial(function, *copy.deepcopy(args)))
        got = outcome(partial(evaluate, function, copy.deepcopy(args)))
        assert agree(want, got), (args, want, got)


@pytest.mark.parametrize("function", PROBES, ids=_name)
def test_loops_are_those_of_the_source(function: Callable[..., Any]) -> None:
    module = ast.parse(Path(probes.__file__).read_text())
    node = next(n for n in ast.walk(module) if isinstance(n, ast.FunctionDef) and n.name == function.__name__)
    codes = list(codes_in(function.__code__))
    in_source = sum(isinstance(n, ast.For | ast.While | ast.comprehension) for n in ast.walk(node))
    found = sum(len(structure(code).flow.loops) for code in codes)
    # From 3.14 on, any, all and tuple of a generator expression are loops of the function, beside the call.
    extra = _inlines_any() * sum(
        isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in ("any", "all", "tuple")
        for n in ast.walk(node)
    )
    assert found - extra == LOOPS_THAT_DIFFER.get(function.__name__, in_source)


def _inlines_any() -> bool:
    def f(xs: Any) -> bool:
        return any(x for x in xs)

    return bool(structure(f.__code__).flow.loops)


@pytest.mark.parametrize("name, seconds", [("stdlib", 6.0), ("numpy", 3.0)])
def test_a_sample_of_a_library(name: str, seconds: float) -> None:
    files = files_of(name)
    report = check(random.Random(2026).sample(files, len(files)), seconds)
    assert report.codes > 10
    assert report.faults == []
    assert len(report.loops_differ) <= 0.01 * report.codes + 2, report.loops_differ


# --- shapes


def _loops(function: Callable[..., Any]) -> list[LoopNode]:
    return [n for n in nodes_in(structure(function.__code__).body) if isinstance(n, LoopNode)]


@pytest.mark.parametrize(
    "function", [probes.while_simple, probes.while_continue, probes.while_not_none, probes.while_and, probes.while_else]
)
def test_a_while_has_its_test_at_its_head_and_once(function: Callable[..., Any]) -> None:
    (loop,) = _loops(function)
    head = loop.body
    assert head.block.end == "branch"
    assert any(isinstance(arm, Goto) and arm.target in loop.exits for arm in head.arms)
    positions = [b.location for b in structure(function.__code__).flow.blocks.values() if b.end == "branch"]
    assert len(positions) == len(set(positions))


@pytest.mark.parametrize("function", [probes.for_range, probes.for_assert, probes.nested, probes.comprehensions])
def test_a_for_stands_alone_at_its_head(function: Callable[..., Any]) -> None:
    for loop in _loops(function):
        assert loop.body.block.end == "for" and not loop.body.block.instrs
        assert loop.body.arms[1] == Goto(next(iter(loop.exits)))
        assert len(loop.exits) == 1


def test_a_failing_assert_is_no_exit() -> None:
    (loop,) = _loops(probes.for_assert)
    assert loop.body.targets == {Continue(loop.header), *loop.exits}
    ends = [n.block.end for n in nodes_in(loop.body) if isinstance(n, BlockNode) and not n.targets]
    assert ends == ["raise"]


def test_a_loop_behind_which_only_a_raise_stands_leads_to_the_return() -> None:
    tree = structure(probes.loop_that_must_return.__code__)
    (loop,) = _loops(probes.loop_that_must_return)
    (target,) = loop.exits
    assert tree.flow.blocks[target].end == "return"


def test_plain_merges_need_no_selector() -> None:
    for function in (
        probes.branches,
        probes.for_break_continue,
        probes.for_range,
        probes.while_simple,
        probes.assertions,
    ):
        assert selectors(structure(function.__code__)) == 0
    assert selectors(structure(probes.or_condition.__code__)) == 1


def test_targets_are_exact() -> None:
    for function in PROBES:
        tree = structure(function.__code__)
        assert tree.body.targets <= {RETURN}
        for loop in _loops(function):
            assert loop.body.targets - {Continue(loop.header)} == set(loop.exits)


def _compiled(source: str) -> types.FunctionType:
    names: dict[str, Any] = {}
    exec(source, names)
    found: types.FunctionType = names["f"]
    return found


@pytest.mark.parametrize(
    "piece",
    [
        "    if x > {k}:\n        x -= 1\n",
        "    for i in range(x):\n        x += i\n",
        "    while x > {k}:\n        x -= {k}\n",
    ],
)
def test_a_long_function_is_a_long_list(piece: str) -> None:
    function = _compiled("def f(x):\n" + "".join(piece.format(k=k + 1) for k in range(200)) + "    return x\n")
    tree = structure(function.__code__)
    assert len(tree.body.joins) >= 199
    assert faults(function.__code__, walks=2) == []


# --- protection


def _protection_of(function: Callable[..., Any], op: str, arg: Any) -> list[str]:
    tree = structure(function.__code__)
    return [
        tree.protection(n, k)
        for n, block in tree.flow.blocks.items()
        for k, instr in enumerate(block.instrs)
        if (instr.op, instr.arg) == (op, arg)
    ]


def test_protection_says_what_handlers_would_do() -> None:
    def f(x: Any, m: Any) -> Any:
        x("none")
        try:
            x("caught")
        except IndexError:
            x("handling")
        try:
            x("cleaned")
        finally:
            x("cleaning")
        with m:
            x("inside")
        try:
            with m:
                x("both")
        except ValueError:
            raise KeyError from None
        try:
            x("swallowed")
        finally:
            return [x for y in m], x("last")  # noqa: B012

    kinds = {"none": "", "caught": "except", "cleaned": "effects", "cleaning": "", "inside": "with", "both": "except"}
    kinds |= {"swallowed": "except", "last": ""}
    for name, kind in kinds.items():
        assert set(_protection_of(f, "const", name)) == {kind}, name


def test_comprehensions_and_generators_are_not_protected() -> None:
    for function in (probes.comprehensions, probes.generator, probes.for_range):
        tree = structure(function.__code__)
        kinds = {k for n, b in tree.flow.blocks.items() for i in range(len(b.instrs)) for k in [tree.protection(n, i)]}
        assert kinds <= {"", "finally"}


# --- liveness


def test_liveness_of_variables() -> None:
    tree = structure(probes.loop_with_locals_after.__code__)
    (header,) = tree.flow.loops
    assert tree.live_in(header) == {"last", "i", "t"}
    assert tree.flow.stored[header] == {"last", "i", "t"}
    assert tree.live_in(tree.flow.entry) == {"n", "i", "t"}
    entry = tree.flow.blocks[tree.flow.entry]
    k = next(k for k, i in enumerate(entry.instrs) if (i.op, i.arg) == ("setlocal", "last"))
    assert tree.live_after(entry.number, k) == {"last", "n", "i", "t"}
    assert tree.live_after(entry.number, len(entry.instrs)) == {"last", "i", "t"}


# --- the cache


def test_trees_are_cached_by_identity_and_weakly() -> None:
    first = _compiled("def f(x):\n    return x\n")
    second = _compiled("def f(x):\n    return x\n")
    assert first.__code__ == second.__code__
    assert structure(first.__code__) is structure(first.__code__)
    assert structure(first.__code__) is not structure(second.__code__)
    code = types.CodeType.replace(first.__code__, co_name="temporary")
    key = id(code)
    structure(code)
    assert key in regions._TREES
    regions._TREES[key] = (regions._TREES[key][0], None)  # type: ignore[assignment]
    del code
    gc.collect()
    assert key not in regions._TREES


# --- graphs made by hand


def _jump(target: Mark) -> Instr:
    return Instr("jump", target, AT)


def _test(name: str, target: Mark) -> list[Instr]:
    return [Instr("local", name, AT), Instr("branch", ("true", target), AT)]


def _leave() -> list[Instr]:
    return [Instr("const", None, AT), Instr("return", None, AT)]


def test_a_loop_with_two_entries_is_refused() -> None:
    a, b = Mark(), Mark()
    items: list[Instr | Mark | Guard] = [
        *_test("x", b),
        a,
        *_test("y", b),
        *_leave(),
        b,
        Instr("nop", None, AT),
        _jump(a),
    ]
    with pytest.raises(UnsupportedError) as caught:
        flow_of_items(items, "twisted")
    assert caught.value.code == "JG204"
    assert "twisted" in str(caught.value)


def _blocks(edges: dict[int, list[int]], tests: dict[int, str]) -> dict[int, BasicBlock]:
    made: dict[int, BasicBlock] = {}
    for n, successors in edges.items():
        instrs = [Instr("nop", n, AT)]
        end, arg = ("jump", None) if successors else ("return", None)
        if len(successors) == 2:
            instrs.append(Instr("local", tests.get(n, f"t{n}"), AT))
            end, arg = "branch", "true"
        at = AT if n in tests else Location("here", 100 + n)
        made[n] = BasicBlock(n, instrs, end, arg, list(successors), at, [None] * (len(instrs) + 1))
    return made


def test_two_copies_of_a_test_become_one() -> None:
    # 0 guards, 1 and 2 are the body, 2 tests again, 3 is behind the loop.
    blocks = _blocks({0: [1, 3], 1: [2], 2: [1, 3], 3: []}, {0: "t", 2: "t"})
    entry = uninvert(blocks, simplify(blocks, 0))
    flow = reverse_postorder(blocks, entry)
    assert sum(b.end == "branch" for b in blocks.values()) == 1
    assert natural_loops(blocks, *flow, dominators(*flow)) is not None


def test_a_step_that_would_break_the_graph_is_undone() -> None:
    # The loop of 1 and 2 can also be entered from 4, past the guard 0: one test would give it two entries.
    edges = {4: [0, 1], 0: [1, 3], 1: [2], 2: [1, 3], 3: []}
    blocks = _blocks(edges, {0: "t", 2: "t"})
    entry = simplify(blocks, 4)
    before = copy.deepcopy(blocks)
    assert uninvert(blocks, entry) == entry
    assert {n: (b.instrs, b.end, b.successors) for n, b in blocks.items()} == {
        n: (b.instrs, b.end, b.successors) for n, b in before.items()
    }


def _random_graphs(count: int) -> Iterator[dict[int, list[int]]]:
    rng = random.Random(7)
    for _ in range(count):
        size = rng.randint(2, 12)
        yield {n: [rng.randrange(size) for _ in range(rng.choice([0, 1, 2, 2]))] for n in range(size)}


def test_dominators_by_definition() -> None:
    for edges in _random_graphs(300):
        order, preds = reverse_postorder(_blocks(edges, {}), 0)
        idom = dominators(order, preds)

        def reached(without: int, edges: dict[int, list[int]] = edges) -> set[int]:
            seen = {0} - {without}
            todo = list(seen)
            while todo:
                for s in edges[todo.pop()]:
                    if s not in seen and s != without:
                        seen.add(s)
                        todo.append(s)
            return seen

        for n in order[1:]:
            dominating = {d for d in order if d == n or n not in reached(d)}
            chain = {n}
            at = n
            while at != 0:
                at = idom[at]
                chain.add(at)
            assert chain == dominating


def test_random_graphs_are_structured_or_refused() -> None:
    """A walk over the tree of any graph with single-entry loops equals the walk over the graph."""
    structured = 0
    for edges in _random_graphs(300):
        items = _as_items(edges)
        try:
            flow = flow_of_items(items, "random")
        except UnsupportedError:
            continue
        tree = tree_of(structure.__code__, flow)
        _check_random(tree, flow)
        structured += 1
        for seed in range(4):
            assert walk_tree(tree, seed) == walk_flow(flow.blocks, flow.entry, seed)
    assert structured > 100


def _check_random(tree: CodeTree, flow: Flow) -> None:
    numbers = sorted(n.block.number for n in nodes_in(tree.body) if isinstance(n, BlockNode))
    assert numbers == sorted(flow.blocks)


def _as_items(edges: dict[int, list[int]]) -> list[Any]:
    marks = {n: Mark() for n in edges}
    items: list[Any] = []
    for n, successors in edges.items():
        items += [marks[n], Instr("nop", n, Location("here", n))]
        if not successors:
            items += _leave()
        elif len(successors) == 1:
            items.append(_jump(marks[successors[0]]))
        else:
            items += [*_test(f"t{n}", marks[successors[0]]), _jump(marks[successors[1]])]
    return items
