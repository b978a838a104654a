"""Every opcode has its meaning, in every version; positions, cells and loops come out right."""

from __future__ import annotations

import dis
import opcode
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jitgrad.location import Location
from jitgrad.trace.blocks import flow_of_items, stack_depths
from jitgrad.trace.bytecode import NULL, PYTHON_PROVISIONAL, Guard, Instr, Mark, decode, effect
from jitgrad.trace.opcodes import VERSION, lower_opcode, rules_for
from jitgrad.trace.regions import structure, tree_of
from tests.trace import probes
from tests.trace.concrete import agree, evaluate, outcome
from tests.trace.probes import PROBES
from tests.trace.walk import codes_in

VERSIONS = [(3, 11), (3, 12), (3, 13), (3, 14)]

# Opcodes without a meaning, because what they belong to is refused: coroutines, module and class bodies,
# exception groups, generic functions, template strings; and pseudo-opcodes, which no code object has.
REFUSED = {
    "ANNOTATIONS_PLACEHOLDER", "ASYNC_GEN_WRAP", "BEFORE_ASYNC_WITH", "BUILD_INTERPOLATION", "BUILD_TEMPLATE",
    "CALL_INTRINSIC_2", "CLEANUP_THROW", "DELETE_GLOBAL", "DELETE_NAME", "END_ASYNC_FOR",
    "ENTER_EXECUTOR", "EXIT_INIT_CHECK", "GET_AITER", "GET_ANEXT", "GET_AWAITABLE",
    "IMPORT_STAR", "INTERPRETER_EXIT", "JUMP", "JUMP_IF_FALSE", "JUMP_IF_TRUE", "JUMP_NO_INTERRUPT",
    "LOAD_BUILD_CLASS", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_LOCALS",
    "LOAD_NAME", "LOAD_SUPER_METHOD", "LOAD_ZERO_SUPER_ATTR", "LOAD_ZERO_SUPER_METHOD", "POP_BLOCK",
    "PREP_RERAISE_STAR", "PRINT_EXPR", "RESERVED", "SETUP_ANNOTATIONS", "SETUP_CLEANUP", "SETUP_FINALLY",
    "SETUP_WITH", "STORE_FAST_MAYBE_NULL", "STORE_NAME",
}  # fmt: skip

# (since, opcode, argument as the library decodes it, meaning)
MEANINGS: list[tuple[tuple[int, int], tuple[int, int], str, Any, list[tuple[str, Any]]]] = [
    ((3, 11), (3, 12), "LOAD_GLOBAL", (True, "f"), [("null", None), ("global", "f")]),
    ((3, 13), (3, 14), "LOAD_GLOBAL", (True, "f"), [("global", "f"), ("null", None)]),
    ((3, 11), (3, 14), "LOAD_GLOBAL", (False, "f"), [("global", "f")]),
    ((3, 11), (3, 11), "LOAD_ATTR", "a", [("attr", "a")]),
    ((3, 12), (3, 14), "LOAD_ATTR", (False, "a"), [("attr", "a")]),
    ((3, 12), (3, 14), "LOAD_ATTR", (True, "a"), [("method", "a")]),
    ((3, 11), (3, 11), "LOAD_METHOD", "a", [("method", "a")]),
    ((3, 12), (3, 14), "LOAD_SUPER_ATTR", (True, True, "a"), [("superattr", "a"), ("null", None)]),
    ((3, 12), (3, 14), "LOAD_SUPER_ATTR", (False, True, "a"), [("superattr", "a")]),
    ((3, 12), (3, 14), "LOAD_FAST_AND_CLEAR", "x", [("localclear", "x")]),
    ((3, 12), (3, 14), "LOAD_FAST_CHECK", "x", [("local", "x")]),
    ((3, 13), (3, 14), "LOAD_FAST_LOAD_FAST", ("x", "y"), [("local", "x"), ("local", "y")]),
    ((3, 13), (3, 14), "STORE_FAST_LOAD_FAST", ("x", "y"), [("setlocal", "x"), ("local", "y")]),
    ((3, 13), (3, 14), "STORE_FAST_STORE_FAST", ("x", "y"), [("setlocal", "x"), ("setlocal", "y")]),
    ((3, 14), (3, 14), "LOAD_FAST_BORROW", "x", [("local", "x")]),
    ((3, 14), (3, 14), "LOAD_FAST_BORROW_LOAD_FAST_BORROW", ("x", "y"), [("local", "x"), ("local", "y")]),
    ((3, 14), (3, 14), "LOAD_SMALL_INT", 7, [("const", 7)]),
    ((3, 14), (3, 14), "LOAD_COMMON_CONSTANT", 0, [("const", AssertionError)]),
    ((3, 14), (3, 14), "LOAD_COMMON_CONSTANT", 4, [("const", any)]),
    ((3, 14), (3, 14), "LOAD_COMMON_CONSTANT", 9, [("unsupported", "the common constant 9")]),
    ((3, 14), (3, 14), "LOAD_SPECIAL", 1, [("method", "__exit__")]),
    ((3, 14), (3, 14), "LOAD_SPECIAL", 2, [("unsupported", "`async with`")]),
    ((3, 11), (3, 14), "BINARY_OP", 10, [("binary", "-")]),
    ((3, 11), (3, 14), "BINARY_OP", 24, [("inplace", "/")]),
    ((3, 14), (3, 14), "BINARY_OP", 26, [("getitem", None)]),
    ((3, 12), (3, 14), "BINARY_SLICE", 0, [("slice", 2), ("getitem", None)]),
    ((3, 12), (3, 14), "STORE_SLICE", 0, [("slice", 2), ("setitem", None)]),
    ((3, 11), (3, 14), "COMPARE_OP", 3, [("compare", "!=")]),
    ((3, 13), (3, 14), "COMPARE_OP", 16 + 1, [("compare", "<="), ("truth", None)]),
    ((3, 11), (3, 14), "IS_OP", 1, [("is", True)]),
    ((3, 11), (3, 14), "CONTAINS_OP", 0, [("in", False)]),
    ((3, 11), (3, 14), "UNPACK_EX", 1 + (2 << 8), [("unpackex", (1, 2))]),
    ((3, 11), (3, 12), "MAKE_FUNCTION", 9, [("makefn", None), ("fnattr", "closure"), ("fnattr", "defaults")]),
    ((3, 13), (3, 14), "MAKE_FUNCTION", 0, [("makefn", None)]),
    ((3, 13), (3, 14), "SET_FUNCTION_ATTRIBUTE", 8, [("fnattr", "closure")]),
    ((3, 14), (3, 14), "SET_FUNCTION_ATTRIBUTE", 16, [("fnattr", "annotate")]),
    ((3, 11), (3, 12), "FORMAT_VALUE", 2 + 4, [("format", ("r", True))]),
    ((3, 13), (3, 14), "FORMAT_SIMPLE", 0, [("format", (None, False))]),
    ((3, 13), (3, 14), "FORMAT_WITH_SPEC", 0, [("format", (None, True))]),
    ((3, 13), (3, 14), "CONVERT_VALUE", 2, [("convert", "r")]),
    ((3, 11), (3, 13), "CALL_FUNCTION_EX", 1, [("callex", True)]),
    ((3, 11), (3, 13), "CALL_FUNCTION_EX", 0, [("callex", False)]),
    ((3, 14), (3, 14), "CALL_FUNCTION_EX", 0, [("callex", True)]),
    ((3, 13), (3, 14), "CALL_KW", 3, [("callkw", 3)]),
    ((3, 12), (3, 12), "END_FOR", 0, []),
    ((3, 13), (3, 14), "END_FOR", 0, [("const", None)]),
    ((3, 14), (3, 14), "POP_ITER", 0, [("pop", None)]),
    ((3, 12), (3, 13), "RETURN_CONST", 5, [("const", 5), ("return", None)]),
    ((3, 12), (3, 14), "CALL_INTRINSIC_1", 5, [("unary", "+")]),
    ((3, 12), (3, 14), "CALL_INTRINSIC_1", 6, [("totuple", None)]),
    ((3, 11), (3, 11), "LIST_TO_TUPLE", 0, [("totuple", None)]),
    ((3, 11), (3, 14), "NOP", 0, []),
    ((3, 11), (3, 11), "SEND", 0, [("pop", None), ("jump", 0)]),
    ((3, 12), (3, 14), "SEND", 0, [("jump", 0)]),
    ((3, 12), (3, 14), "END_SEND", None, [("pop", None)]),
    ((3, 11), (3, 14), "GET_YIELD_FROM_ITER", None, [("yield_all", None)]),
    ((3, 11), (3, 14), "NO_SUCH_OPCODE", 0, [("unsupported", "the instruction NO_SUCH_OPCODE")]),
]


@pytest.mark.parametrize("since, until, name, arg, meaning", MEANINGS)
def test_meanings(
    since: tuple[int, int], until: tuple[int, int], name: str, arg: Any, meaning: list[tuple[str, Any]]
) -> None:
    for version in VERSIONS:
        if since <= version <= until:
            assert lower_opcode(name, arg, version) == meaning


def test_jumps() -> None:
    target = Mark()
    for version in VERSIONS:
        for name in ("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"):
            assert lower_opcode(name, target, version) == [("jump", target)]
        assert lower_opcode("FOR_ITER", target, version) == [("for", target)]
        assert lower_opcode("POP_JUMP_IF_NOT_NONE", target, version) == [("branch", ("notnone", target))]
    assert lower_opcode("POP_JUMP_BACKWARD_IF_TRUE", target, (3, 11)) == [("branch", ("true", target))]
    assert lower_opcode("JUMP_IF_FALSE_OR_POP", target, (3, 11)) == [
        ("dup", 1),
        ("branch", ("false", target)),
        ("pop", None),
    ]


def test_every_opcode_of_this_python_is_known_or_refused() -> None:
    names = {n for n in opcode.opmap if not n.startswith(("INSTRUMENTED_", "<"))}
    assert names - set(rules_for(VERSION)) <= REFUSED


def test_a_newer_python_uses_the_newest_table() -> None:
    assert set(rules_for((3, 99))) == set(rules_for(VERSIONS[-1]))
    assert rules_for((3, 99))["LOAD_GLOBAL"] is rules_for(VERSIONS[-1])["LOAD_GLOBAL"]
    assert not PYTHON_PROVISIONAL or VERSIONS[-1] == VERSION


def _all_codes() -> list[types.CodeType]:
    return [code for function in PROBES for code in codes_in(function.__code__)]


def test_probes_use_nothing_unsupported() -> None:
    for code in _all_codes():
        for block in structure(code).flow.blocks.values():
            for instr in block.instrs:
                assert instr.op not in ("unsupported", "handler"), instr
                assert effect(instr.op, instr.arg) is not None, instr


def test_positions_are_those_of_dis() -> None:
    for code in _all_codes():
        known = {
            (p.lineno, p.end_lineno, p.col_offset, p.end_col_offset)
            for i in dis.get_instructions(code)
            if (p := i.positions)
        }
        for item in decode(code):
            if isinstance(item, Instr):
                at = item.location
                assert (at.line, at.end_line, at.column, at.end_column) in known or at.column is None
                assert at.file == code.co_filename and at.function == code.co_qualname and at.inlined_at is None


def test_each_instruction_of_dis_is_decoded_once() -> None:
    for code in _all_codes():
        names = [i.opname for i in dis.get_instructions(code)]
        items = [i for i in decode(code) if isinstance(i, Instr)]
        stores = sum(n.count("STORE_FAST") for n in names)
        assert sum(i.op == "setlocal" for i in items) == stores
        assert sum(i.op == "for" for i in items) == names.count("FOR_ITER")
        assert sum(i.op in ("call", "callkw") for i in items) == names.count("CALL") + names.count("CALL_KW")


def _instrs(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    return [(i.op, i.arg) for i in decode(function.__code__) if isinstance(i, Instr)]


def test_a_closure_takes_cells_not_values() -> None:
    def outer(x: int) -> Callable[[], int]:
        def inner() -> int:
            return x

        return inner

    assert ("cellobj", "x") in _instrs(outer)
    assert ("local", "x") not in _instrs(outer)


def test_keyword_names_belong_to_their_call() -> None:
    def f(g: Callable[..., Any], x: int) -> Any:
        return g(x, a=1)(g(2, b=x))

    found = _instrs(f)
    if VERSION < (3, 13):
        assert [a for op, a in found if op == "call"] == [(2, ("a",)), (2, ("b",)), (1, ())]
    else:
        assert [a for op, a in found if op == "callkw"] == [2, 2]
        assert ("const", ("a",)) in found and ("const", ("b",)) in found


def test_an_unknown_opcode_hurts_only_where_it_is_reached() -> None:
    def f(x: int) -> Any:
        if x > 1000:

            class Unused:
                pass

        return x

    ops = [i.op for b in structure(f.__code__).flow.blocks.values() for i in b.instrs]
    assert "unsupported" in ops


def test_null_is_printed_as_such() -> None:
    assert repr(NULL) == "NULL"


# --- CPython 3.14, from listings


def _listings() -> dict[str, list[tuple[str, Any]]]:
    found: dict[str, list[tuple[str, Any]]] = {}
    text = (Path(__file__).parent / "listings_314.txt").read_text()
    names = {"slice": slice, "frozenset": frozenset, "__builtins__": {}}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.startswith(" "):
            current = found.setdefault(line, [])
            continue
        name, _, arg = line.strip().partition(" ")
        current.append((name, eval(arg, names) if arg else 0))
    return found


LISTINGS = _listings()


def _items(listing: list[tuple[str, Any]]) -> list[Instr | Mark | Guard]:
    at = Location("listing", 1)
    marks: dict[int, Mark] = {}
    made: list[Instr | Mark | Guard] = []
    for name, arg in listing:
        if name == "label":
            made.append(marks.setdefault(arg, Mark()))
        elif name in ("try", "end"):
            made.append(Guard(marks.setdefault(arg, Mark()) if name == "try" else None))
        else:
            if isinstance(arg, tuple) and arg[:1] == ("label",):
                arg = marks.setdefault(arg[1], Mark())
            for op, value in lower_opcode(name, arg, (3, 14)):
                made.append(Instr(op, (value, ()) if op == "call" else value, at))
    return made


@pytest.mark.parametrize("name", LISTINGS)
def test_what_python_314_compiles_means_the_same(name: str) -> None:
    function = getattr(probes, name)
    flow = flow_of_items(_items(LISTINGS[name]), name)
    stack_depths(flow.blocks, flow.entry)
    tree = tree_of(function.__code__, flow)
    for args in PROBES[function]:
        want = outcome(partial(function, *args))
        got = outcome(partial(evaluate, function, args, tree=tree))
        assert agree(want, got), (args, want, got)
