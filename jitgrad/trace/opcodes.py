"""The opcode tables of the CPython versions: name and argument of one opcode to its meaning.

In: an opcode's name, and its argument as the `bytecode` library decodes it. Out: (op, arg) pairs of the instructions
that `bytecode.py` lists. One base table, for 3.11, and a small delta per version since, keyed by name because numbers
move. A new CPython is a new delta here and nothing else; a Python newer than the tables uses the newest one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from bytecode import CellVar, FreeVar

__all__ = ["PYTHON_PROVISIONAL", "VERSION", "lower_opcode", "rules_for"]

_NEWEST = (3, 14)
VERSION = min(sys.version_info[:2], _NEWEST)
PYTHON_PROVISIONAL = sys.version_info[:2] > _NEWEST

_Lowered = list[tuple[str, Any]]
_Rule = Callable[[Any], _Lowered]

_BINARY = ["+", "&", "//", "<<", "@", "*", "%", "|", "**", ">>", "-", "/", "^"]
_COMPARE = ["<", "<=", "==", "!=", ">", ">="]
_ATTRIBUTES = {1: "defaults", 2: "kwdefaults", 4: "annotations", 8: "closure", 16: "annotate"}
_CONVERSIONS = [None, "s", "r", "a"]
_COMMON = [AssertionError, NotImplementedError, tuple, all, any]
_SPECIAL = ["__enter__", "__exit__"]
_CONSTRUCTS = {
    "ASYNC_GEN_WRAP": "an asynchronous generator",
    "BEFORE_ASYNC_WITH": "`async with`",
    "GET_AITER": "`async for`",
    "GET_AWAITABLE": "`await`",
    "LOAD_BUILD_CLASS": "a class made inside",
    "LOAD_CLASSDEREF": "a class body",
    "LOAD_FROM_DICT_OR_DEREF": "a class body",
    "LOAD_LOCALS": "a class body",
    "LOAD_NAME": "a module or class body",
    "STORE_NAME": "a module or class body",
}


def _fixed(op: str, arg: Any = None) -> _Rule:
    return lambda _: [(op, arg)]


def _named(op: str) -> _Rule:
    return lambda arg: [(op, _name(arg))]


def _name(arg: Any) -> Any:
    return arg.name if isinstance(arg, CellVar | FreeVar) else arg


def _local(arg: Any) -> _Lowered:
    if isinstance(arg, CellVar | FreeVar):
        return [("cellobj", arg.name)]
    return [("local", arg)]


def _two(first: str, second: str) -> _Rule:
    return lambda arg: [(first, _name(arg[0])), (second, _name(arg[1]))]


def _binary_op(arg: Any) -> _Lowered:
    number = int(arg)
    if number == 26:
        return [("getitem", None)]
    return [("binary", _BINARY[number])] if number < 13 else [("inplace", _BINARY[number - 13])]


def _compare_op(arg: Any) -> _Lowered:
    number = int(arg)
    made: _Lowered = [("compare", _COMPARE[number & 15])]
    return [*made, ("truth", None)] if number & 16 else made


def _build(kind: str) -> _Rule:
    return lambda n: [("build", (kind, n))]


def _accum(kind: str) -> _Rule:
    return lambda depth: [("accum", (kind, depth))]


def _make_function(flags: Any) -> _Lowered:
    return [("makefn", None), *(("fnattr", _ATTRIBUTES[bit]) for bit in (8, 4, 2, 1) if int(flags) & bit)]


def _format_value(flags: Any) -> _Lowered:
    return [("format", (_CONVERSIONS[int(flags) & 3], bool(int(flags) & 4)))]


def _convert_value(arg: Any) -> _Lowered:
    return [("convert", _CONVERSIONS[int(arg)])]


def _intrinsic(arg: Any) -> _Lowered:
    number = int(arg)
    if number == 5:
        return [("unary", "+")]
    if number == 6:
        return [("totuple", None)]
    if number == 3:  # StopIteration in a generator, in a handler
        return [("nop", None)]
    return [("unsupported", f"the intrinsic {getattr(arg, 'name', arg)}")]


def _global_below(arg: Any) -> _Lowered:
    return [("null", None), ("global", arg[1])] if arg[0] else [("global", arg[1])]


def _global_above(arg: Any) -> _Lowered:
    return [("global", arg[1]), ("null", None)] if arg[0] else [("global", arg[1])]


def _attr(arg: Any) -> _Lowered:
    return [("method", arg[1])] if arg[0] else [("attr", arg[1])]


def _superattr(arg: Any) -> _Lowered:
    made: _Lowered = [("superattr", arg[2])]
    return [*made, ("null", None)] if arg[0] else made


def _jump_or_pop(kind: str) -> _Rule:
    return lambda target: [("dup", 1), ("branch", (kind, target)), ("pop", None)]


def _branch(kind: str) -> _Rule:
    return lambda target: [("branch", (kind, target))]


def _common_constant(arg: Any) -> _Lowered:
    number = int(arg)
    if number < len(_COMMON):
        return [("const", _COMMON[number])]
    return [("unsupported", f"the common constant {number}")]


def _load_special(arg: Any) -> _Lowered:
    number = int(arg)
    return [("method", _SPECIAL[number])] if number < 2 else [("unsupported", "`async with`")]


def _jump(target: Any) -> _Lowered:
    return [("jump", target)]


_BASE: dict[str, _Rule] = {
    "LOAD_FAST": _local,
    "STORE_FAST": _named("setlocal"),
    "DELETE_FAST": _named("dellocal"),
    "LOAD_DEREF": _named("cell"),
    "STORE_DEREF": _named("setcell"),
    "DELETE_DEREF": _named("delcell"),
    "LOAD_CLOSURE": _named("cellobj"),
    "MAKE_CELL": _named("mkcell"),
    "COPY_FREE_VARS": lambda _: [],
    "LOAD_GLOBAL": _global_below,
    "STORE_GLOBAL": _named("setglobal"),
    "LOAD_CONST": lambda arg: [("const", arg)],
    "LOAD_ASSERTION_ERROR": _fixed("const", AssertionError),
    "PUSH_NULL": _fixed("null"),
    "LOAD_ATTR": lambda arg: [("attr", arg)],
    "LOAD_METHOD": lambda arg: [("method", arg)],
    "STORE_ATTR": _named("setattr"),
    "DELETE_ATTR": _named("delattr"),
    "BINARY_OP": _binary_op,
    "BINARY_SUBSCR": _fixed("getitem"),
    "STORE_SUBSCR": _fixed("setitem"),
    "DELETE_SUBSCR": _fixed("delitem"),
    "BUILD_SLICE": lambda n: [("slice", n)],
    "COMPARE_OP": _compare_op,
    "IS_OP": lambda invert: [("is", bool(invert))],
    "CONTAINS_OP": lambda invert: [("in", bool(invert))],
    "UNARY_NEGATIVE": _fixed("unary", "-"),
    "UNARY_POSITIVE": _fixed("unary", "+"),
    "UNARY_INVERT": _fixed("unary", "~"),
    "UNARY_NOT": _fixed("unary", "not"),
    "POP_TOP": _fixed("pop"),
    "COPY": lambda n: [("dup", n)],
    "SWAP": lambda n: [("swap", n)],
    "BUILD_TUPLE": _build("tuple"),
    "BUILD_LIST": _build("list"),
    "BUILD_SET": _build("set"),
    "BUILD_MAP": _build("map"),
    "BUILD_CONST_KEY_MAP": _build("constmap"),
    "BUILD_STRING": _build("string"),
    "LIST_APPEND": _accum("list_append"),
    "SET_ADD": _accum("set_add"),
    "MAP_ADD": _accum("map_add"),
    "LIST_EXTEND": _accum("list_extend"),
    "SET_UPDATE": _accum("set_update"),
    "DICT_UPDATE": _accum("dict_update"),
    "DICT_MERGE": _accum("dict_merge"),
    "LIST_TO_TUPLE": _fixed("totuple"),
    "UNPACK_SEQUENCE": lambda n: [("unpack", n)],
    "UNPACK_EX": lambda n: [("unpackex", (n & 255, n >> 8))],
    "GET_ITER": _fixed("iter"),
    "FOR_ITER": lambda target: [("for", target)],
    "JUMP_FORWARD": _jump,
    "JUMP_BACKWARD": _jump,
    "JUMP_BACKWARD_NO_INTERRUPT": _jump,
    "CALL": lambda n: [("call", n)],
    "KW_NAMES": lambda names: [("kwnames", names)],
    "PRECALL": lambda _: [],
    "CALL_FUNCTION_EX": lambda flags: [("callex", bool(int(flags) & 1))],
    "MAKE_FUNCTION": _make_function,
    "RETURN_VALUE": _fixed("return"),
    "RAISE_VARARGS": lambda n: [("raise", n)],
    # In handlers only: never evaluated, but `blocks.py` asks what a handler does.
    "RERAISE": lambda _: [("raise", 0)],
    "PUSH_EXC_INFO": _fixed("handler", "enter"),
    "POP_EXCEPT": _fixed("handler", "leave"),
    "CHECK_EXC_MATCH": _fixed("handler", "match"),
    "CHECK_EG_MATCH": _fixed("handler", "match"),
    "WITH_EXCEPT_START": _fixed("handler", "with"),
    "MATCH_CLASS": lambda n: [("match_class", n)],
    "MATCH_KEYS": _fixed("match_keys"),
    "MATCH_MAPPING": _fixed("match_mapping"),
    "MATCH_SEQUENCE": _fixed("match_sequence"),
    "IMPORT_NAME": _named("import"),
    "IMPORT_FROM": _named("importfrom"),
    "FORMAT_VALUE": _format_value,
    "BEFORE_WITH": _fixed("with_enter"),
    "GET_LEN": _fixed("get_len"),
    "NOP": lambda _: [],
    "RESUME": lambda _: [],
    "CACHE": lambda _: [],
    "EXTENDED_ARG": lambda _: [],
    "RETURN_GENERATOR": lambda _: [("const", None)],
    "YIELD_VALUE": _fixed("yield"),
    # All items at once: what asks for them one by one is gone over never, from `SEND` on.
    "GET_YIELD_FROM_ITER": _fixed("yield_all"),
    "SEND": lambda target: [("pop", None), ("jump", target)],
    "JUMP_IF_TRUE_OR_POP": _jump_or_pop("true"),
    "JUMP_IF_FALSE_OR_POP": _jump_or_pop("false"),
    **{
        f"POP_JUMP_{way}IF_{name}": _branch(kind)
        for way in ("", "FORWARD_", "BACKWARD_")
        for name, kind in [("TRUE", "true"), ("FALSE", "false"), ("NONE", "none"), ("NOT_NONE", "notnone")]
    },
}
_SINCE: dict[tuple[int, int], dict[str, _Rule]] = {
    (3, 12): {
        "LOAD_FAST_CHECK": _local,
        "LOAD_FAST_AND_CLEAR": _named("localclear"),
        "LOAD_ATTR": _attr,
        "LOAD_SUPER_ATTR": _superattr,
        "BINARY_SLICE": lambda _: [("slice", 2), ("getitem", None)],
        "STORE_SLICE": lambda _: [("slice", 2), ("setitem", None)],
        "RETURN_CONST": lambda arg: [("const", arg), ("return", None)],
        "CALL_INTRINSIC_1": _intrinsic,
        "END_FOR": lambda _: [],
        "SEND": _jump,
        "END_SEND": _fixed("pop"),
    },
    (3, 13): {
        "LOAD_GLOBAL": _global_above,
        "LOAD_FAST_LOAD_FAST": lambda arg: [*_local(arg[0]), *_local(arg[1])],
        "STORE_FAST_LOAD_FAST": lambda arg: [("setlocal", _name(arg[0])), *_local(arg[1])],
        "STORE_FAST_STORE_FAST": _two("setlocal", "setlocal"),
        "TO_BOOL": _fixed("truth"),
        "CALL_KW": lambda n: [("callkw", n)],
        "MAKE_FUNCTION": _fixed("makefn"),
        "SET_FUNCTION_ATTRIBUTE": lambda flag: [("fnattr", _ATTRIBUTES[int(flag)])],
        "FORMAT_SIMPLE": _fixed("format", (None, False)),
        "FORMAT_WITH_SPEC": _fixed("format", (None, True)),
        "CONVERT_VALUE": _convert_value,
        # The exhausted edge has popped the iterator: one value for the POP_TOP (or POP_ITER) that follows.
        "END_FOR": _fixed("const", None),
    },
    (3, 14): {
        "LOAD_SMALL_INT": lambda arg: [("const", arg)],
        "LOAD_COMMON_CONSTANT": _common_constant,
        "LOAD_FAST_BORROW": _local,
        "LOAD_FAST_BORROW_LOAD_FAST_BORROW": lambda arg: [*_local(arg[0]), *_local(arg[1])],
        "LOAD_SPECIAL": _load_special,
        "NOT_TAKEN": lambda _: [],
        "POP_ITER": _fixed("pop"),
        "CALL_FUNCTION_EX": lambda _: [("callex", True)],
    },
}


def rules_for(version: tuple[int, int]) -> dict[str, _Rule]:
    """Return the opcode table of a CPython version."""
    table = dict(_BASE)
    for since, delta in _SINCE.items():
        if version >= since:
            table.update(delta)
    return table


_RULES = rules_for(VERSION)


def lower_opcode(name: str, arg: Any, version: tuple[int, int] = VERSION) -> _Lowered:
    """Return the meaning of one opcode in a CPython version, as (op, arg) pairs."""
    rule = (_RULES if version == VERSION else rules_for(version)).get(name)
    if rule is None:
        return [("unsupported", _CONSTRUCTS.get(name, f"the instruction {name}"))]
    return rule(arg)
