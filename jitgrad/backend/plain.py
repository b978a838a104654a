"""One entry for all calls of plain forms, which is compiled once a process.

A form is plain if it takes arrays, floats and ints by their places, reads nothing from outside but what names stand for
(modules, functions, builtins, floats and ints), and returns arrays and numbers, one or a tuple of them: what most
programs are. In: such a `CallForm`. Out: the table in which its call is described, and the IR of

    define ptr @jg_plain_entry(ptr %args, i64 %nargs, ptr %kwnames, ptr %call)
    define ptr @jg_plain_run(ptr %leaves, ptr %call)

which do what `entry` says of `jg_entry` and `jg_run`, in loops over the lists of that table. Others have an entry of
their own, which takes a compile 3 ms; so have functions so short that what the loops cost a call would show.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.backend.box import ON_ERROR
from jitgrad.backend.callhelpers import ARENA_ALIGN, ARENA_STACK_BYTES, Loop, arena_in, array_facts
from jitgrad.backend.calltext import CallText, Table, shared_text
from jitgrad.backend.capi import ARRAY, OB_TYPE, OB_VALUE
from jitgrad.backend.checks import is_by_identity, root_and_steps
from jitgrad.backend.form import (
    MISFIT,
    ArrayLeaf,
    ArrayResult,
    CallForm,
    Fact,
    HiddenInput,
    NumberResult,
    ScalarLeaf,
    SharedSize,
    TupleResult,
)

__all__ = ["emit_plain_entry", "is_plain", "plain_table"]

# Places of words in the table; the arena is word 0, as in every table.
_BODY, _ON_ERROR, _ARENA_BYTES, _ARENA_GROWS, _LEAVES, _FACTS, _HIDDEN, _RESULTS, _SINGLE = range(1, 10)

# How many words of inputs, of outputs, of operands of an error and how many results there are room for.
_ROOM = 64

# Kinds of leaves and results: what stands first in each entry of their lists, of so many words.
_ARRAY, _DOUBLE, _INT, _NUMPY = range(4)
_ENTRY = 3

# Facts: how many steps lead from a name or an object to what is compared, and their kinds; words of an entry.
_STEPS = 2
_ATTRIBUTE, _ITEM = 1, 2
_FACT = 4 + 2 * _STEPS

_SCALARS = {"float": (_DOUBLE, float), "int": (_INT, int)}


def is_plain(form: CallForm) -> bool:
    """Whether the one entry answers calls of a form."""
    results = _results(form)
    return (
        not (form.keywords or form.disjoint or form.identical or form.plan_words)
        and all(map(_is_plain_leaf, form.arguments))
        and all(map(_is_plain_fact, form.facts))
        and all(map(_is_plain_hidden, form.hidden))
        and all(map(_is_plain_result, results))
        and max(len(form.leaves), form.input_offsets[-1], form.output_offsets[-1], form.error_words, len(results))
        <= _ROOM
    )


def _results(form: CallForm) -> tuple[Any, ...]:
    """Return the items of a tuple, or the one result."""
    return form.result.children if isinstance(form.result, TupleResult) else (form.result,)


def _is_plain_leaf(leaf: Any) -> bool:
    if isinstance(leaf, ArrayLeaf):
        return not any(isinstance(n, SharedSize) for n in (*leaf.shape, *leaf.layout))
    return isinstance(leaf, ScalarLeaf) and (leaf.kind in _SCALARS or _is_float64(leaf))


def _is_float64(leaf: ScalarLeaf) -> bool:
    return leaf.kind == "numpy" and leaf.dtype == np.float64


def _is_plain_fact(fact: Fact) -> bool:
    root, steps = root_and_steps(fact.source)
    if root[0] not in ("global", "object") or len(steps) > _STEPS:
        return False
    if fact.rule == "absent":
        # What it would be in must be there.
        return len(steps) <= (root[0] == "object")
    return is_by_identity(fact.expected, fact.rule) or _is_compared(fact)


def _is_compared(fact: Fact) -> bool:
    """Whether another object may pass for what is expected: one of its type that is equal."""
    return fact.rule == "equal" and type(fact.expected) in (int, str, bytes)


def _is_plain_hidden(hidden: HiddenInput) -> bool:
    """Whether it is a number, which is read at once, so that nothing need be held for it."""
    source, leaf = hidden.source, hidden.leaf
    return source[0] == "global" and len(source) == 3 and isinstance(leaf, ScalarLeaf) and _is_plain_leaf(leaf)


def _is_plain_result(result: Any) -> bool:
    if isinstance(result, ArrayResult):
        return all(isinstance(n, int) for n in result.shape)
    return isinstance(result, NumberResult) and result.kind in ("float", "int", "numpy")


def plain_table(form: CallForm) -> Table:
    """Return the table that describes a plain form."""
    table = Table()
    table.items += [
        "body",
        (ON_ERROR,),
        form.arena_bytes,
        int(form.arena_grows or form.arena_bytes > ARENA_STACK_BYTES),  # type: ignore[operator]
        [len(form.leaves)],
        [len(form.facts)],
        [len(form.hidden)],
        [form.error_words, len(_results(form))],
        int(not isinstance(form.result, TupleResult)),
    ]
    for leaf, at in zip(form.leaves, form.input_offsets, strict=False):
        table.items[_LEAVES] += [*_leaf_words(leaf), 8 * at]
    for fact in form.facts:
        table.items[_FACTS] += _fact_words(fact)
    for hidden in form.hidden:
        table.items[_HIDDEN] += [(hidden.source[1],), (hidden.source[2],)]
    for result, at in zip(_results(form), form.output_offsets, strict=False):
        table.items[_RESULTS] += [*_result_words(result), 8 * at]
    return table


def _leaf_words(leaf: ArrayLeaf | ScalarLeaf) -> list[Any]:
    if isinstance(leaf, ArrayLeaf):
        return [_ARRAY, array_facts(leaf)]
    kind, cls = (_DOUBLE, np.float64) if leaf.kind == "numpy" else _SCALARS[leaf.kind]
    return [kind, (cls,)]


def _fact_words(fact: Fact) -> list[Any]:
    """Return a dict or null, a name in it or an object, the steps from there, what is expected, whether to compare."""
    root, steps = root_and_steps(fact.source)
    words: list[Any] = [(root[1],), (root[2],)] if root[0] == "global" else [0, (root[1],)]
    for how, name in steps:
        words += [_ATTRIBUTE if how == "attr" else _ITEM, (name,)]
    words += [0] * (2 + 2 * _STEPS - len(words))
    return [*words, 0 if fact.rule == "absent" else (fact.expected,), int(_is_compared(fact))]


def _result_words(result: ArrayResult | NumberResult) -> list[Any]:
    if isinstance(result, ArrayResult):
        order = 2 if result.order == "F" else 0
        return [_ARRAY, [(np.ndarray,), (result.dtype,), len(result.shape), order, *result.shape]]
    return [_NUMPY, (result.dtype,)] if result.kind == "numpy" else [_SCALARS[result.kind][0], 0]


# --- the functions


def emit_plain_entry(table: Table) -> str:
    """Return the IR of `jg_plain_entry` and `jg_plain_run`, for the module of the shared functions."""
    parts = (_same, _facts, _unpack, _finish, _entry, _run)
    return "\n".join(part(table) for part in parts)


def _entry_of(t: CallText, first: str, k: str, words: int) -> str:
    """Return where an entry of a list begins."""
    return t.emit(f"getelementptr [{words} x i64], ptr {first}, i64 {k}")


def _facts(table: Table) -> str:
    """Whether what is outside is as it was."""
    t = shared_text(table)
    place = t.alloca("ptr")
    first = t.at("%facts", 8)
    with Loop(t, t.load("i64", "%facts")) as k:
        at = _entry_of(t, first, k, _FACT)
        names, name = t.load("ptr", at), t.load("ptr", at, 8)
        look_up, absent, found, rooted = map(t.fresh, ("look_up", "absent", "found", "rooted"))
        t.store(f"ptr {name}", place)
        t.branch_if(t.equal("ptr", names, "null"), rooted, look_up)
        t.start(look_up)
        t.store(f"ptr {t.api('PyDict_GetItemWithError', 'ptr', f'ptr {names}', f'ptr {name}')}", place)
        t.branch(rooted)
        t.start(rooted)
        # Held until it is compared, for a step may run anybody's code; of null, none is.
        t.incref(t.load("ptr", place))
        for step in range(_STEPS):
            _take_step(t, at, 16 + 16 * step, place, absent, found)
        t.branch_if(t.equal("ptr", t.load("ptr", place), "null"), absent, found)
        t.start(absent)
        t.api("PyErr_Clear", "void")
        t.branch(found)
        t.start(found)
        same = t.emit(f"call i1 @jg_plain_same(ptr {t.load('ptr', place)}, ptr {t.at(at, 16 + 16 * _STEPS)})")
        t.decref(t.load("ptr", place))
        t.unless(same, "no")
    t.do("ret i1 true")
    t.start("no")
    t.do("ret i1 false")
    return t.function("define internal i1 @jg_plain_facts(ptr %facts)")


def _take_step(t: CallText, at: str, offset: int, place: str, absent: str, found: str) -> None:
    """Replace the reference in a place by one to its attribute or item: leave if there is none, or no step to take."""
    kind, name, held = t.load("i64", at, offset), t.load("ptr", at, offset + 8), t.load("ptr", place)
    there, attribute, item, stepped = map(t.fresh, ("there", "attribute", "item", "stepped"))
    t.branch_if(t.equal("ptr", held, "null"), absent, there)
    t.start(there)
    t.do(f"switch i64 {kind}, label %{found} [ i64 {_ATTRIBUTE}, label %{attribute} i64 {_ITEM}, label %{item} ]")
    for label, api in ((attribute, "PyObject_GetAttr"), (item, "PyObject_GetItem")):
        t.start(label)
        t.store(f"ptr {t.api(api, 'ptr', f'ptr {held}', f'ptr {name}')}", place)
        t.branch(stepped)
    t.start(stepped)
    t.decref(held)


def _same(table: Table) -> str:
    """Whether an object, or null, is what two words say: the very one, or if the second is 1, one that is equal."""
    t = shared_text(table)
    expected = t.load("ptr", "%fact")
    t.branch_if(t.equal("ptr", "%found", expected), "yes", "other")
    t.start("other")
    t.unless(t.equal("i64", t.load("i64", "%fact", 8), 1), "no")
    t.not_null("%found", "no")
    t.unless(t.equal("ptr", t.load("ptr", "%found", OB_TYPE), t.load("ptr", expected, OB_TYPE)), "no")
    # Of exact built-in types, whose comparison raises nothing.
    equal = t.api("PyObject_RichCompareBool", "i32", "ptr %found", f"ptr {expected}", "i32 2")
    t.branch_if(t.equal("i32", equal, 1), "yes", "no")
    t.start("yes")
    t.do("ret i1 true")
    t.start("no")
    t.do("ret i1 false")
    return t.function("define internal i1 @jg_plain_same(ptr %found, ptr %fact)")


def _unpack(table: Table) -> str:
    """Whether objects are the leaves that some entries of a list describe; if so, store their words."""
    t = shared_text(table)
    overflow = t.alloca("i32")
    with Loop(t, "%count") as k:
        at = _entry_of(t, "%first", k, _ENTRY)
        kind, expected, offset = t.load("i64", at), t.load("ptr", at, 8), t.load("i64", at, 16)
        leaf = t.load("ptr", t.emit(f"getelementptr ptr, ptr %objects, i64 {k}"))
        place = t.emit(f"getelementptr i8, ptr %words, i64 {offset}")
        array, number, double, integer, on = map(t.fresh, ("array", "number", "double", "integer", "next"))
        t.branch_if(t.equal("i64", kind, _ARRAY), array, number)
        t.start(array)
        fits = t.emit(f"call i1 @jg_array(ptr {leaf}, ptr {expected}, ptr {place})")
        t.branch_if(fits, on, "no")
        t.start(number)
        t.unless(t.equal("ptr", t.load("ptr", leaf, OB_TYPE), expected), "no")
        t.branch_if(t.equal("i64", kind, _DOUBLE), double, integer)
        t.start(double)
        t.store(f"i64 {t.load('i64', leaf, OB_VALUE)}", place)
        t.branch(on)
        t.start(integer)
        t.store("i32 0", overflow)
        value = t.api("PyLong_AsLongLongAndOverflow", "i64", f"ptr {leaf}", f"ptr {overflow}")
        t.store(f"i64 {value}", place)
        t.branch_if(t.equal("i32", t.load("i32", overflow), 0), on, "no")
        t.start(on)
    t.do("ret i1 true")
    t.start("no")
    t.do("ret i1 false")
    return t.function("define internal i1 @jg_plain_unpack(ptr %objects, ptr %first, i64 %count, ptr %words)")


def _finish(table: Table) -> str:
    """Make the arrays, run the body, make the result; a slot of `made` holds what no container has yet."""
    t = shared_text(table)
    made, out = t.alloca(f"[{_ROOM} x ptr]"), t.alloca(f"[{_ROOM} x i64]", 16)
    err, stack = t.alloca(f"[{_ROOM} x i64]"), t.alloca(f"[{ARENA_STACK_BYTES} x i8]", ARENA_ALIGN)
    arena, block = t.alloca("ptr"), t.alloca("ptr")
    results = t.load("ptr", "%call", 8 * _RESULTS)
    count, first = t.load("i64", results, 8), t.at(results, 16)
    with Loop(t, count) as k:
        t.store("ptr null", t.emit(f"getelementptr ptr, ptr {made}, i64 {k}"))
    with Loop(t, count) as k:
        at, on, array = _entry_of(t, first, k, _ENTRY), t.fresh("next"), t.fresh("array")
        t.branch_if(t.equal("i64", t.load("i64", at), _ARRAY), array, on)
        t.start(array)
        new = t.emit(f"call ptr @jg_new_array(ptr {t.load('ptr', at, 8)}, ptr null)")
        t.not_null(new, "fail")
        t.store(f"ptr {new}", t.emit(f"getelementptr ptr, ptr {made}, i64 {k}"))
        place = t.emit(f"getelementptr i8, ptr {out}, i64 {t.load('i64', at, 16)}")
        t.store(f"ptr {t.load('ptr', new, ARRAY['data'])}", place)
        t.branch(on)
        t.start(on)
    _run_body(t, out, err, stack, arena, block)
    code = t.load("i32", "%code")
    t.branch_if(t.equal("i32", code, 0), "good", "bad")
    t.start("bad")
    t.do(f"call void @jg_drop(ptr {made}, i64 {count})")
    words, on_error = t.load("i64", results), t.load("ptr", "%call", 8 * _ON_ERROR)
    t.do(f"ret ptr {t.emit(f'call ptr @jg_error(i32 {code}, ptr {err}, i64 {words}, ptr {on_error})')}")
    t.start("good")
    with Loop(t, count) as k:
        _box_number(t, _entry_of(t, first, k, _ENTRY), out, t.emit(f"getelementptr ptr, ptr {made}, i64 {k}"))
    single = t.equal("i64", t.load("i64", "%call", 8 * _SINGLE), 1)
    t.branch_if(single, "one", "many")
    t.start("one")
    t.do(f"ret ptr {t.load('ptr', made)}")
    t.start("many")
    items = t.api("PyTuple_New", "ptr", f"i64 {count}")
    t.not_null(items, "fail")
    with Loop(t, count) as k:
        # Takes the reference over; a new tuple has room.
        item = t.load("ptr", t.emit(f"getelementptr ptr, ptr {made}, i64 {k}"))
        t.api("PyTuple_SetItem", "i32", f"ptr {items}", f"i64 {k}", f"ptr {item}")
    t.do(f"ret ptr {items}")
    t.start("fail")
    t.do(f"call void @jg_drop(ptr {made}, i64 {count})")
    t.do("ret ptr null")
    t.entry.append("  %code = alloca i32")
    return t.function("define internal ptr @jg_plain_finish(ptr %in, ptr %call)")


def _run_body(t: CallText, out: str, err: str, stack: str, arena: str, block: str) -> None:
    """Lend the body the arena and run it: a small one is on the stack."""
    t.store(f"ptr {stack}", arena)
    t.store("ptr null", block)
    warm = t.equal("i64", t.load("i64", "%call", 8 * _ARENA_GROWS), 1)
    t.branch_if(warm, "take", "run")
    t.start("take")
    size = t.load("i64", "%call", 8 * _ARENA_BYTES)
    taken = t.emit(f"call ptr @jg_take_arena(i64 {size}, ptr %call)")
    t.not_null(taken, "fail")
    t.store(f"ptr {taken}", block)
    aligned = arena_in(t, taken)
    t.store(f"i64 {t.load('i64', taken)}", aligned, -16)
    t.store("i64 0", aligned, -8)
    t.store(f"ptr {aligned}", arena)
    t.branch("run")
    t.start("run")
    body, given = t.load("ptr", "%call", 8 * _BODY), t.load("ptr", arena)
    t.store(f"i32 {t.emit(f'call i32 {body}(ptr %in, ptr {out}, ptr {given}, ptr {err})')}", "%code")
    taken = t.load("ptr", block)
    t.branch_if(t.equal("ptr", taken, "null"), "ran", "give")
    t.start("give")
    wanted = t.load("i64", given, -8)
    t.do(f"call void @jg_give_arena(ptr {taken}, ptr %call, i64 {wanted})")
    t.branch("ran")
    t.start("ran")


def _box_number(t: CallText, at: str, out: str, slot: str) -> None:
    """Make the object of a result that is no array."""
    place = t.emit(f"getelementptr i8, ptr {out}, i64 {t.load('i64', at, 16)}")
    labels = {kind: t.fresh(name) for kind, name in ((_DOUBLE, "double"), (_INT, "int"), (_NUMPY, "numpy"))}
    on, made = t.fresh("next"), t.fresh("made")
    arms = " ".join(f"i64 {kind}, label %{label}" for kind, label in labels.items())
    t.do(f"switch i64 {t.load('i64', at)}, label %{on} [ {arms} ]")
    for kind, label in labels.items():
        t.start(label)
        if kind == _DOUBLE:
            new = t.api("PyFloat_FromDouble", "ptr", f"double {t.load('double', place)}")
        elif kind == _INT:
            new = t.api("PyLong_FromLongLong", "ptr", f"i64 {t.load('i64', place)}")
        else:
            new = t.api("PyArray_Scalar", "ptr", f"ptr {place}", f"ptr {t.load('ptr', at, 8)}", "ptr null")
        t.store(f"ptr {new}", slot)
        t.branch(made)
    t.start(made)
    t.branch_if(t.equal("ptr", t.load("ptr", slot), "null"), "fail", on)
    t.start(on)


def _entry(table: Table) -> str:
    t = shared_text(table)
    words, place = t.alloca(f"[{_ROOM} x i64]", 16), t.alloca("ptr")
    leaves, facts, hidden = (t.load("ptr", "%call", 8 * place) for place in (_LEAVES, _FACTS, _HIDDEN))
    first, behind = t.at(leaves, 8), t.load("i64", hidden)
    count = t.equal("i64", t.emit(f"add i64 %nargs, {behind}"), t.load("i64", leaves))
    t.unless(t.all([count, t.equal("ptr", "%kwnames", "null")]), "no")
    t.unless(t.emit(f"call i1 @jg_plain_unpack(ptr %args, ptr {first}, i64 %nargs, ptr {words})"), "no")
    t.unless(t.emit(f"call i1 @jg_plain_facts(ptr {facts})"), "no")
    first = _entry_of(t, first, "%nargs", _ENTRY)
    with Loop(t, behind) as k:
        names, name = (t.load("ptr", _entry_of(t, t.at(hidden, 8), k, 2), 8 * word) for word in range(2))
        found = t.api("PyDict_GetItemWithError", "ptr", f"ptr {names}", f"ptr {name}")
        t.not_null(found, "clear")
        # Read at once: to look for the next may run anybody's code.
        t.store(f"ptr {found}", place)
        at = _entry_of(t, first, k, _ENTRY)
        t.unless(t.emit(f"call i1 @jg_plain_unpack(ptr {place}, ptr {at}, i64 1, ptr {words})"), "no")
    t.do(f"ret ptr {t.emit(f'call ptr @jg_plain_finish(ptr {words}, ptr %call)')}")
    t.start("clear")
    t.api("PyErr_Clear", "void")
    t.branch("no")
    t.start("no")
    t.do("ret ptr inttoptr (i64 1 to ptr)")
    return t.function("define ptr @jg_plain_entry(ptr %args, i64 %nargs, ptr %kwnames, ptr %call)")


def _run(table: Table) -> str:
    t = shared_text(table)
    words = t.alloca(f"[{_ROOM} x i64]", 16)
    leaves = t.load("ptr", "%call", 8 * _LEAVES)
    t.unless(t.type_is("%leaves", tuple), "no")
    t.unless(t.equal("i64", t.api("PyTuple_Size", "i64", "ptr %leaves"), t.load("i64", leaves)), "no")
    items, first, count = t.at("%leaves", tuple.__basicsize__), t.at(leaves, 8), t.load("i64", leaves)
    t.unless(t.emit(f"call i1 @jg_plain_unpack(ptr {items}, ptr {first}, i64 {count}, ptr {words})"), "no")
    t.do(f"ret ptr {t.emit(f'call ptr @jg_plain_finish(ptr {words}, ptr %call)')}")
    t.start("no")
    t.api("PyErr_SetObject", "void", f"ptr {t.object(TypeError)}", f"ptr {t.object(MISFIT)}")
    t.do("ret ptr null")
    return t.function("define ptr @jg_plain_run(ptr %leaves, ptr %call)", cold=True)
