"""The passes: a golden and a run test for each rule, properties on random graphs, deep nests and long graphs.

A rule's case is a text; the pass must leave what `has` names and take away what `lacks` names, and the graph must then
give the same bits (or raise the same error) as before on arguments with NaN, infinities and zeros of both signs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from jitgrad.graph.builder import Builder
from jitgrad.graph.equality import structurally_equal
from jitgrad.graph.ir import Graph
from jitgrad.graph.parser import parse
from jitgrad.graph.passes import PASSES, cse, dce, licm, optimise, simplify
from jitgrad.graph.printer import print_graph
from jitgrad.graph.types import FLOAT64, INT64
from jitgrad.graph.verify import verify
from tests.graph.helpers import assert_ir, deep_graph, outcome, read
from tests.graph.random_graphs import random_args, random_graph

_HEAD = (
    "graph f(%x: float64[], %y: float64[], %a: float64[4], %m: float64[2, 3], %i: int64[], %j: int64[], %n: int64[], "
    "%p: bool[], %q: bool[], %v: float64[%n], %b: bool[4], %z: complex128[], %h: float32[], %u: int8[]) {\n"
)


@dataclass(frozen=True)
class Case:
    name: str
    body: str
    has: Sequence[str] = ()
    lacks: Sequence[str] = ()


def run_case(case: Case, *passes: Callable[[Graph], bool], unchanged: bool = False) -> None:
    graph = read(_HEAD + case.body + "\n}")
    arguments = [random_args(graph, seed) for seed in range(6)]
    before = [outcome(graph, args) for args in arguments]
    text = print_graph(graph)
    changed = [run(graph) for run in passes]
    verify(graph)
    assert any(changed) != unchanged, print_graph(graph)
    if unchanged:
        assert print_graph(graph) == text
    assert [outcome(graph, args) for args in arguments] == before
    assert_ir(graph, case.has, case.lacks)
    # A second run finds nothing: the rules go one way.
    assert not any(run(graph) for run in passes), print_graph(graph)


def unary(rule: str, *lines: str, has: Sequence[str] = (), lacks: Sequence[str] = ()) -> Case:
    return Case(rule, "\n".join(lines), has, lacks)


def c(name: str, value: str, type: str = "float64[]") -> str:
    return f"%{name} = constant {{value={value}}} : {type}"


F, I, B = "float64[]", "int64[]", "bool[]"  # noqa: E741

SIMPLIFY = [
    # --- sums
    Case("x + -0.0", f"{c('o', '-0.0')}\n%r = add %x, %o : {F}\nreturn %r", ["return %x"], ["add"]),
    Case("-0.0 + a", f"{c('o', '-0.0')}\n%r = add %o, %a : float64[4]\nreturn %r", ["return %a"], ["add"]),
    Case("x - 0.0", f"{c('o', '0.0')}\n%r = subtract %x, %o : {F}\nreturn %r", ["return %x"], ["subtract"]),
    Case("i + 0", f"{c('o', '0', I)}\n%r = add %i, %o : {I}\nreturn %r", ["return %i"], ["add"]),
    Case("i - 0", f"{c('o', '0', I)}\n%r = subtract %i, %o : {I}\nreturn %r", ["return %i"], ["subtract"]),
    Case(
        "x + -0.0 broadcast",
        f"{c('o', '-0.0')}\n%w = broadcast %o {{shape=(4,)}} : float64[4]\n%r = add %x, %w : float64[4]\nreturn %r",
        ["broadcast %x {shape=(4,)}"], ["add"],
    ),
    Case("x + -y", f"%m2 = negative %y : {F}\n%r = add %x, %m2 : {F}\nreturn %r", ["subtract %x, %y"], ["negative", "add"]),
    Case("-x + y", f"%m2 = negative %x : {F}\n%r = add %m2, %y : {F}\nreturn %r", ["subtract %y, %x"], ["negative", "add"]),
    Case("x - -y", f"%m2 = negative %y : {F}\n%r = subtract %x, %m2 : {F}\nreturn %r", ["add %x, %y"], ["negative"]),
    Case("i - i", f"%r = subtract %i, %i : {I}\nreturn %r", ["constant {value=0}"], ["subtract"]),
    Case("i - j + j", f"%s = subtract %i, %j : {I}\n%r = add %j, %s : {I}\nreturn %r", ["return %i"], ["add"]),
    Case("i + j - i", f"%s = add %i, %j : {I}\n%r = subtract %s, %i : {I}\nreturn %r", ["return %j"]),
    Case("i - (i - j)", f"%s = subtract %i, %j : {I}\n%r = subtract %i, %s : {I}\nreturn %r", ["return %j"]),
    Case(
        "i + 2 - 1 - 4",
        f"{c('o', '1', I)}\n{c('t', '2', I)}\n{c('f', '4', I)}\n%s = add %t, %i : {I}\n%s2 = subtract %s, %o : {I}\n"
        f"%r = subtract %s2, %f : {I}\nreturn %r",
        ["%0 = constant {value=3} : int64[]", "%r = subtract %i, %0"], ["add"],
    ),
    Case(
        "i + 2 - 2",
        f"{c('t', '2', I)}\n%s = add %i, %t : {I}\n%r = subtract %s, %t : {I}\nreturn %r", ["return %i"], ["subtract"],
    ),
    # --- products
    Case("x * 1.0", f"{c('o', '1.0')}\n%r = multiply %x, %o : {F}\nreturn %r", ["return %x"], ["multiply"]),
    Case("1 * i", f"{c('o', '1', I)}\n%r = multiply %o, %i : {I}\nreturn %r", ["return %i"], ["multiply"]),
    Case("x * -1.0", f"{c('o', '-1.0')}\n%r = multiply %x, %o : {F}\nreturn %r", ["negative %x"], ["multiply"]),
    Case("i * 0", f"{c('o', '0', I)}\n%r = multiply %i, %o : {I}\nreturn %r", ["value=0"], ["multiply"]),
    Case(
        "-x * -y", f"%s = negative %x : {F}\n%t = negative %y : {F}\n%r = multiply %s, %t : {F}\nreturn %r",
        ["multiply %x, %y"], ["negative"],
    ),
    Case(
        "x * -y", f"%s = negative %y : {F}\n%r = multiply %x, %s : {F}\n%t = subtract %x, %r : {F}\nreturn %t",
        ["multiply %x, %y", "%t = add %x, %0"], ["subtract"],
    ),
    Case(
        "-x * y", f"%s = negative %x : {F}\n%r = multiply %s, %y : {F}\nreturn %r", ["multiply %x, %y", "negative"], [],
    ),
    Case(
        "-x * 2.0", f"%s = negative %x : {F}\n{c('o', '2.0')}\n%r = multiply %s, %o : {F}\nreturn %r",
        ["value=-2.0", "multiply %x, %0"], ["negative"],
    ),
    Case(
        "-(x * 2.0)", f"{c('o', '2.0')}\n%s = multiply %x, %o : {F}\n%r = negative %s : {F}\nreturn %r",
        ["value=-2.0", "multiply %x, %0"], ["negative"],
    ),
    Case("-(-x)", f"%s = negative %x : {F}\n%r = negative %s : {F}\nreturn %r", ["return %x"], []),
    Case("-(i - j)", f"%s = subtract %i, %j : {I}\n%r = negative %s : {I}\nreturn %r", ["subtract %j, %i"], ["negative"]),
    Case("x / 1.0", f"{c('o', '1.0')}\n%r = divide %x, %o : {F}\nreturn %r", ["return %x"], ["divide"]),
    Case("x / -1.0", f"{c('o', '-1.0')}\n%r = divide %x, %o : {F}\nreturn %r", ["negative %x"], ["divide"]),
    Case("x / 4.0", f"{c('o', '4.0')}\n%r = divide %x, %o : {F}\nreturn %r", ["value=0.25", "multiply"], ["divide"]),
    Case("-x / y", f"%s = negative %x : {F}\n%r = divide %s, %y : {F}\nreturn %r", ["divide %x, %y", "negative"], []),
    # --- one operand
    Case("floor floor", f"%s = floor %x : {F}\n%r = floor %s : {F}\nreturn %r", ["1*= floor"], []),
    Case("abs abs", f"%s = absolute %x : {F}\n%r = absolute %s : {F}\nreturn %r", ["1*= absolute"], []),
    Case("abs -x", f"%s = negative %x : {F}\n%r = absolute %s : {F}\nreturn %r", ["absolute %x"], ["negative"]),
    Case("square -x", f"%s = negative %x : {F}\n%r = square %s : {F}\nreturn %r", ["square %x"], ["negative"]),
    Case("maximum(x, x)", f"%r = maximum %x, %x : {F}\nreturn %r", ["return %x"], []),
    Case(
        "conjugate conjugate", "%s = conjugate %z : complex128[]\n%r = conjugate %s : complex128[]\nreturn %r",
        ["return %z"], [],
    ),
    # --- logic
    Case("not not p", f"%s = logical_not %p : {B}\n%r = logical_not %s : {B}\nreturn %r", ["return %p"], []),
    Case("not x == y", f"%s = equal %x, %y : {B}\n%r = logical_not %s : {B}\nreturn %r", ["not_equal %x, %y"], ["logical"]),
    Case("not i < j", f"%s = less %i, %j : {B}\n%r = logical_not %s : {B}\nreturn %r", ["greater_equal %i, %j"], ["logical"]),
    Case("p and True", f"{c('t', 'True', B)}\n%r = logical_and %p, %t : {B}\nreturn %r", ["return %p"], []),
    Case("False and p", f"{c('t', 'False', B)}\n%r = logical_and %t, %p : {B}\nreturn %r", ["return %t"], ["logical"]),
    Case("p or True", f"{c('t', 'True', B)}\n%r = logical_or %p, %t : {B}\nreturn %r", ["return %t"], ["logical"]),
    Case("p or p", f"%r = logical_or %p, %p : {B}\nreturn %r", ["return %p"], []),
    Case("p and not p", f"%s = logical_not %p : {B}\n%r = logical_and %p, %s : {B}\nreturn %r", ["value=False"], []),
    Case("i == i", f"%r = equal %i, %i : {B}\nreturn %r", ["value=True"], ["equal"]),
    Case("i < i", f"%r = less %i, %i : {B}\nreturn %r", ["value=False"], ["less"]),
    # --- select and cast
    Case("select(True)", f"{c('t', 'True', B)}\n%r = select %t, %x, %y : {F}\nreturn %r", ["return %x"], ["select"]),
    Case("select(False) fits", f"{c('t', 'False', B)}\n%r = select %t, %a, %y : float64[4]\nreturn %r", ["broadcast %y"]),
    Case("select(p, x, x)", f"%r = select %p, %x, %x : {F}\nreturn %r", ["return %x"], ["select"]),
    Case("select(b, 2, 2)", f"{c('s', '2.0')}\n{c('t', '2.0')}\n%r = select %p, %s, %t : {F}\nreturn %r", [], ["select"]),
    Case("select(not p)", f"%s = logical_not %p : {B}\n%r = select %s, %x, %y : {F}\nreturn %r", ["select %p, %y, %x"], []),
    Case("select in then", f"%s = select %p, %x, %y : {F}\n%r = select %p, %s, %x : {F}\nreturn %r", ["return %x"], []),
    Case(
        "select in else", f"{c('t', '3.0')}\n%s = select %p, %x, %y : {F}\n%r = select %p, %t, %s : {F}\nreturn %r",
        ["select %p, %t, %y"], [],
    ),
    Case(
        "select of bools", f"{c('t', 'True', B)}\n{c('e', 'False', B)}\n%r = select %p, %t, %e : {B}\nreturn %r",
        ["return %p"], ["select"],
    ),
    Case("cast to itself", f"%r = cast %x {{dtype=float64}} : {F}\nreturn %r", ["return %x"], ["cast"]),
    Case(
        "cast of a wider cast", f"%s = cast %h {{dtype=float64}} : {F}\n%r = cast %s {{dtype=float32}} : float32[]\nreturn %r",
        ["return %h"], ["cast"],
    ),
    Case(
        "cast bool to int to float", f"%s = cast %p {{dtype=int64}} : {I}\n%r = cast %s {{dtype=float64}} : {F}\nreturn %r",
        ["cast %p {dtype=float64}"], ["int64}"],
    ),
    # --- shapes
    Case(
        "transpose of transpose",
        "%s = transpose %m {permutation=(1, 0)} : float64[3, 2]\n%r = transpose %s {permutation=(1, 0)} : float64[2, 3]\n"
        "return %r", ["return %m"], [],
    ),
    Case("identity transpose", "%r = transpose %m {permutation=(0, 1)} : float64[2, 3]\nreturn %r", ["return %m"], []),
    Case(
        "reshape of reshape",
        "%s = reshape %m {shape=(6,)} : float64[6]\n%r = reshape %s {shape=(3, 2)} : float64[3, 2]\nreturn %r",
        ["reshape %m {shape=(3, 2)}"], ["shape=(6,)"],
    ),
    Case("reshape to itself", "%r = reshape %m {shape=(2, 3)} : float64[2, 3]\nreturn %r", ["return %m"], ["reshape"]),
    Case(
        "broadcast of broadcast",
        "%s = broadcast %a {shape=(2, 4)} : float64[2, 4]\n%r = broadcast %s {shape=(3, 2, 4)} : float64[3, 2, 4]\nreturn %r",
        ["broadcast %a {shape=(3, 2, 4)}"], ["shape=(2, 4)"],
    ),
    Case(
        "broadcast of a reshaped scalar",
        "%s = reshape %x {shape=(1, 1)} : float64[1, 1]\n%r = broadcast %s {shape=(2, 4)} : float64[2, 4]\nreturn %r",
        ["broadcast %x"], ["reshape"],
    ),
    Case(
        "broadcast to run-time sizes",
        "%s = broadcast %x {shape=(1,)} : float64[1]\n%r = broadcast %s, %n {shape=(None,)} : float64[%n]\nreturn %r",
        ["broadcast %x, %n {shape=(None,)}"], ["(1,)"],
    ),
    Case(
        "reshape of a broadcast scalar",
        "%s = broadcast %x {shape=(2, 3)} : float64[2, 3]\n%r = reshape %s {shape=(6,)} : float64[6]\nreturn %r",
        ["broadcast %x {shape=(6,)}"], ["reshape"],
    ),
    Case("concatenate one", "%r = concatenate %a {axis=0} : float64[4]\nreturn %r", ["return %a"], []),
    Case(
        "concatenate nothing", f"{c('e', '[]', 'float64[0]')}\n%r = concatenate %e, %a {{axis=0}} : float64[4]\nreturn %r",
        ["return %a"], [],
    ),
    Case("reduce nothing", "%r = reduce_sum %a {axes=()} : float64[4]\nreturn %r", ["return %a"], ["reduce"]),
    # --- reads and writes
    Case("load all", "%r = load %a {index=(0:1:4,)} : float64[4]\nreturn %r", ["return %a"], []),
    Case("load all of a run-time size", "%r = load %v, %n {index=(0:1:_,)} : float64[%n]\nreturn %r", ["return %v"], []),
    Case(
        "constant positions",
        f"{c('t', '2', I)}\n%r = load %a, %t {{index=(@_,)}} : {F}\n%s = store %a, %x, %t {{index=(@_,)}} : float64[4]\n"
        "return %r, %s", ["load %a {index=(@2,)}", "store %a, %x {index=(@2,)}"], [],
    ),
    Case(
        "load of store",
        f"{c('t', '4', I)}\n%k = remainder %i, %t : {I}\n%s = store %a, %x, %k {{index=(@_,)}} : float64[4]\n"
        f"%r = load %s, %k {{index=(@_,)}} : {F}\nreturn %r", ["return %x"], ["load"],
    ),
    Case(
        "load past other stores",
        f"%s = store %a, %x {{index=(@1,)}} : float64[4]\n%t = addto %s, %y {{index=(@2,)}} : float64[4]\n"
        f"%w = store %t, %m2 {{index=(2:1:2,)}} : float64[4]\n%r = load %w {{index=(@1,)}} : {F}\nreturn %r".replace(
            "%w = store %t, %m2", "%m2 = load %a {index=(0:1:2,)} : float64[2]\n%w = store %t, %m2"
        ), ["return %x"], [],
    ),
    Case(
        "load past i + 1",
        f"{c('o', '1', I)}\n{c('t', '3', I)}\n%k = remainder %i, %t : {I}\n%k1 = add %k, %o : {I}\n"
        f"%s = store %a, %x, %k {{index=(@_,)}} : float64[4]\n%w = store %s, %y, %k1 {{index=(@_,)}} : float64[4]\n"
        f"%r = load %w, %k {{index=(@_,)}} : {F}\nreturn %r, %w", ["return %x"], ["load"],
    ),
    Case(
        "load of a broadcast scalar",
        f"%s = broadcast %x {{shape=(2, 3)}} : float64[2, 3]\n%r = load %s {{index=(@1, 0:1:2)}} : float64[2]\nreturn %r",
        ["broadcast %x {shape=(2,)}"], ["load"],
    ),
    Case(
        "load of a constant", f"{c('t', '[1.0, 2.5]', 'float64[2]')}\n%r = load %t {{index=(@1,)}} : {F}\nreturn %r",
        ["value=2.5"], ["load"],
    ),
    Case(
        "load of a load",
        f"%s = load %m {{index=(@1, 0:1:3)}} : float64[3]\n{c('t', '3', I)}\n%k = remainder %i, %t : {I}\n"
        f"%r = load %s, %k {{index=(@_,)}} : {F}\nreturn %r", ["load %m, %k {index=(@1, @_)}"], [],
    ),
    Case(
        "part of a strided part",
        f"%s = load %a {{index=(3:-1:4,)}} : float64[4]\n%w = load %s {{index=(1:2:2,)}} : float64[2]\n"
        f"%r = load %s {{index=(@3,)}} : {F}\nreturn %r, %w", ["{index=(2:-2:2,)}", "{index=(@0,)}"], [],
    ),
    Case(
        "load of an iota", f"%s = iota %n {{shape=(None,), dtype=int64}} : int64[%n]\n{c('t', '0', I)}\n"
        f"%r = for %n, %t : {I}\n^(%k: {I}, %acc: {I}) {{\n%w = load %s, %k {{index=(@_,)}} : {I}\n"
        f"%w2 = add %w, %acc : {I}\nyield %w2\n}}\nreturn %r", ["add %k, %acc"], ["load"],
    ),
    Case("store of the load", "%s = load %a {index=(@1,)} : float64[]\n%r = store %a, %s {index=(@1,)} : float64[4]\nreturn %r",
         ["return %a"], ["store"]),
    Case(
        "store over store",
        "%s = store %a, %x {index=(@1,)} : float64[4]\n%r = store %s, %y {index=(@1,)} : float64[4]\nreturn %r",
        ["%r = store %a, %y"], [],
    ),
    Case("store all", "%s = negative %a : float64[4]\n%r = store %a, %s {index=(0:1:4,)} : float64[4]\nreturn %r",
         ["return %s"], ["store"]),
    # --- lists
    Case(
        "pop of push",
        "%l = list_empty {type=list[float64[]]} : list[float64[]]\n%s = list_push %l, %x : list[float64[]]\n"
        "%r = list_pop %s : list[float64[]]\nreturn %r", ["return %l"], ["list_pop"],
    ),
    Case("length of empty", f"%l = list_empty {{type=list[float64[]]}} : list[float64[]]\n%r = list_length %l : {I}\nreturn %r",
         ["value=0"], ["length"]),
    Case(
        "last of push",
        f"%l = list_from_array %a : list[float64[]]\n%k = list_length %l : {I}\n%s = list_push %l, %x : list[float64[]]\n"
        f"%r = list_get %s, %k : {F}\nreturn %r", ["return %x"], ["get"],
    ),
    Case(
        "top of push",
        f"%l = list_from_array %a : list[float64[]]\n%s = list_push %l, %x : list[float64[]]\n%k = list_length %s : {I}\n"
        f"{c('o', '1', I)}\n%k1 = subtract %k, %o : {I}\n%r = list_get %s, %k1 : {F}\nreturn %r", ["return %x"], ["get"],
    ),
    # --- folding
    Case("2.0 + 3.0", f"{c('s', '2.0')}\n{c('t', '3.0')}\n%r = add %s, %t : {F}\nreturn %r", ["value=5.0"], ["add"]),
    Case("1 / 0", f"{c('s', '1.0')}\n{c('t', '0.0')}\n%r = divide %s, %t : {F}\nreturn %r", ["value=inf"], ["divide"]),
    Case("-(int8 -128)", f"{c('s', '-128', 'int8[]')}\n%r = negative %s : int8[]\nreturn %r", ["value=-128} : int8[]", "1*= "]),
    Case("[1, 2] * 2", f"{c('s', '[1, 2]', 'int64[2]')}\n{c('t', '2', I)}\n%r = multiply %s, %t : int64[2]\nreturn %r",
         ["value=[2, 4]"], ["multiply"]),
    Case("check True", f"{c('t', 'True', B)}\ncheck %t {{exception=IndexError, message='no'}}\nreturn", [], ["check"]),
    # --- control
    Case(
        "if True", f"{c('t', 'True', B)}\n%r = if %t : {F}\n^() {{\n%s = sin %x : {F}\nyield %s\n}}\n^() {{\nyield %y\n}}\nreturn %r",
        ["%s = sin %x", "return %s"], ["if"],
    ),
    Case(
        "if not p",
        f"%t = logical_not %p : {B}\n%r = if %t : {F}\n^() {{\n%s = sin %x : {F}\nyield %s\n}}\n^() {{\nyield %y\n}}\nreturn %r",
        ["if %p : float64[]\n  ^() {\n    yield %y"], ["if %t"],
    ),
    Case(
        "equal results",
        f"%r, %w, %o = if %p : {F}, {F}, {F}\n^() {{\n{c('t', '2.0')}\n%s = sin %x : {F}\nyield %x, %t, %s\n}}\n"
        f"^() {{\n{c('t2', '2.0')}\nyield %x, %t2, %y\n}}\nreturn %r, %w, %o", ["return %x, %w, %o", "%o = if %p : float64[]\n"],
    ),
    Case(
        "small if",
        f"%r = if %p : {F}\n^() {{\n%s = add %x, %y : {F}\nyield %s\n}}\n^() {{\nyield %y\n}}\nreturn %r",
        ["select %p, %s, %y"], ["if"],
    ),
    Case("for 0", f"{c('t', '0', I)}\n%r = for %t, %x : {F}\n^(%k: {I}, %s: {F}) {{\n%w = sin %s : {F}\nyield %w\n}}\nreturn %r",
         ["return %x"], ["for"]),
    Case("for -1", f"{c('t', '-1', I)}\n%r = for %t, %x : {F}\n^(%k: {I}, %s: {F}) {{\n%w = sin %s : {F}\nyield %w\n}}\nreturn %r",
         ["return %x"], ["for"]),
    Case(
        "for 1",
        f"{c('t', '1', I)}\n%r = for %t, %x : {F}\n^(%k: {I}, %s: {F}) {{\n%f = cast %k {{dtype=float64}} : {F}\n"
        f"%w = maximum %s, %f : {F}\nyield %w\n}}\nreturn %r", ["maximum %x, %f", "value=0.0"], ["for"],
    ),
    Case(
        "carried unchanged",
        f"%r, %o = for %n, %x, %y : {F}, {F}\n^(%k: {I}, %s: {F}, %t: {F}) {{\n%w = divide %s, %t : {F}\nyield %w, %t\n}}\n"
        "return %r, %o", ["%r = for %n, %x : float64[]", "divide %s, %y", "return %r, %y"], [],
    ),
    Case(
        "carried unchanged in while",
        f"%r, %o = while %i, %y : {I}, {F}\n^(%s: {I}, %t: {F}) {{\n{c('e', '3', I)}\n%g = less %s, %e : {B}\nyield %g\n}}\n"
        f"^(%s: {I}, %t: {F}) {{\n{c('o', '1', I)}\n%w = add %s, %o : {I}\nyield %w, %y\n}}\nreturn %r, %o".replace(
            "^(%s: int64[], %t: float64[]) {\n%o", "^(%s2: int64[], %t2: float64[]) {\n%o1"
        ).replace("%w = add %s, %o :", "%w = add %s2, %o1 :"),
        ["%r = while %i : int64[]", "return %r, %y"], [],
    ),
    Case(
        "while False",
        f"%r = while %x : {F}\n^(%s: {F}) {{\n%g = constant {{value=False}} : {B}\nyield %g\n}}\n"
        f"^(%t: {F}) {{\n%w = sin %t : {F}\nyield %w\n}}\nreturn %r", ["return %x"], ["while"],
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", SIMPLIFY, ids=lambda case: case.name)
def test_simplify(case: Case) -> None:
    run_case(case, simplify, dce)


# What would change a float result, a NaN, the sign of a zero, or an error.
OFF = [
    Case("x + 0.0", f"{c('o', '0.0')}\n%r = add %x, %o : {F}\nreturn %r"),
    Case("x - -0.0", f"{c('o', '-0.0')}\n%r = subtract %x, %o : {F}\nreturn %r"),
    Case("x * 0.0", f"{c('o', '0.0')}\n%r = multiply %x, %o : {F}\nreturn %r"),
    Case("x - x", f"%r = subtract %x, %x : {F}\nreturn %r"),
    Case("x / x", f"%r = divide %x, %x : {F}\nreturn %r"),
    Case("x / 3.0", f"{c('o', '3.0')}\n%r = divide %x, %o : {F}\nreturn %r"),
    Case("x / 2**-1074", f"{c('o', '5e-324')}\n%r = divide %x, %o : {F}\nreturn %r"),
    Case("x - y + y", f"%s = subtract %x, %y : {F}\n%r = add %s, %y : {F}\nreturn %r"),
    Case("x + 1.0 + 2.0", f"{c('o', '1.0')}\n{c('t', '2.0')}\n%s = add %x, %o : {F}\n%r = add %s, %t : {F}\nreturn %r"),
    Case("-(x - y)", f"%s = subtract %x, %y : {F}\n%r = negative %s : {F}\nreturn %r"),
    Case("not x < y", f"%s = less %x, %y : {B}\n%r = logical_not %s : {B}\nreturn %r"),
    Case("x == x", f"%r = equal %x, %x : {B}\nreturn %r"),
    Case("z * (1+0j)", f"{c('o', '1.0+0.0j', 'complex128[]')}\n%r = multiply %z, %o : complex128[]\nreturn %r"),
    Case("z * -z", "%s = negative %z : complex128[]\n%r = multiply %z, %s : complex128[]\nreturn %r"),
    Case("cast to int and back", f"%s = cast %i {{dtype=float64}} : {F}\n%r = cast %s {{dtype=int64}} : {I}\nreturn %r"),
    Case("cast through narrow", f"%s = cast %x {{dtype=float32}} : float32[]\n%r = cast %s {{dtype=float64}} : {F}\nreturn %r"),
    Case("cast float to int by way", f"%s = cast %h {{dtype=float64}} : {F}\n%r = cast %s {{dtype=int64}} : {I}\nreturn %r"),
    Case("addto to zeros", f"{c('o', '0.0')}\n%s = broadcast %o {{shape=(4,)}} : float64[4]\n"
         "%r = addto %s, %x {index=(@1,)} : float64[4]\nreturn %r"),
    Case("load past an unknown store",
         f"{c('t', '4', I)}\n%k = remainder %i, %t : {I}\n%s = store %a, %x, %k {{index=(@_,)}} : float64[4]\n"
         f"%r = load %s {{index=(@1,)}} : {F}\nreturn %r, %s"),
    # An older version of an array must not be read once a newer one may have taken its storage.
    Case("load past a store, finding nothing",
         f"%s = store %a, %x {{index=(@2,)}} : float64[4]\n%r = load %s {{index=(@1,)}} : {F}\nreturn %r, %s"),
    Case("load of a load of a written array",
         f"%s = load %m {{index=(@1, 0:1:3)}} : float64[3]\n%w = store %m, %x {{index=(@1, @0)}} : float64[2, 3]\n"
         f"%r = load %s {{index=(@2,)}} : {F}\nreturn %r, %w"),
    Case("if that divides", f"%r = if %p : {F}\n^() {{\n%s = divide %x, %y : {F}\nyield %s\n}}\n^() {{\nyield %y\n}}\nreturn %r"),
    Case("if that reads", f"%r = if %p : {F}\n^() {{\n%s = load %a {{index=(@1,)}} : {F}\nyield %s\n}}\n^() {{\nyield %y\n}}\nreturn %r"),
    Case("if of arrays", "%w = negative %a : float64[4]\n%r = if %p : float64[4]\n^() {\nyield %a\n}\n^() {\nyield %w\n}\nreturn %r"),
    Case("if that raises",
         f"%r = if %p : {F}\n^() {{\ncheck %q {{exception=ValueError, message='no'}}\nyield %x\n}}\n^() {{\nyield %y\n}}\nreturn %r"),
    Case("check False", f"{c('t', 'False', B)}\ncheck %t {{exception=ValueError, message='no'}}\nreturn"),
    Case("while whose test raises",
         f"%r = while %x : {F}\n^(%s: {F}) {{\n%g = constant {{value=False}} : {B}\ncheck %q {{exception=ValueError, message='no'}}\n"
         f"yield %g\n}}\n^(%t: {F}) {{\n%w = sin %t : {F}\nyield %w\n}}\nreturn %r"),
]  # fmt: skip


@pytest.mark.parametrize("case", OFF, ids=lambda case: case.name)
def test_simplify_leaves_alone(case: Case) -> None:
    run_case(case, simplify, unchanged=True)


CSE = [
    Case("equal ops", f"%s = sin %x : {F}\n%t = sin %x : {F}\n%r = add %s, %t : {F}\nreturn %r", ["1*sin", "add %s, %s"], []),
    Case("either order", f"%s = add %x, %y : {F}\n%t = add %y, %x : {F}\n%r = multiply %t, %s : {F}\nreturn %r", ["multiply %s, %s"], []),
    Case("constants by bits", f"{c('s', '0.0')}\n{c('t', '0.0')}\n{c('w', '-0.0')}\nreturn %s, %t, %w", ["return %s, %s, %w"], []),
    Case("NaN is NaN", f"{c('s', 'nan')}\n{c('t', 'nan')}\nreturn %s, %t", ["return %s, %s"], []),
    Case(
        "from around", f"%s = sin %x : {F}\n%r = if %p : {F}\n^() {{\n%t = sin %x : {F}\nyield %t\n}}\n^() {{\nyield %y\n}}\nreturn %r, %s",
        ["yield %s", "1*sin"], [],
    ),
    Case(
        "check again",
        "check %p {exception=IndexError, message='a'}\ncheck %p {exception=ValueError, message='b'}\nreturn", ["1*check"], ["ValueError"],
    ),
    Case(
        "check in its arm",
        f"%r = if %p : {F}\n^() {{\ncheck %p {{exception=IndexError, message='a'}}\nyield %x\n}}\n^() {{\nyield %y\n}}\nreturn %r",
        [], ["check"],
    ),
    Case(
        "known in the arms",
        f"%r = if %p : {F}\n^() {{\n%s = select %p, %x, %y : {F}\nyield %s\n}}\n^() {{\n%t = select %p, %x, %y : {F}\nyield %t\n}}\n"
        "return %r", ["constant {value=True}", "constant {value=False}"], ["select %p"],
    ),
    Case(
        "types follow",
        f"{c('o', '3', I)}\n{c('t', '3', I)}\n%s = broadcast %x, %o {{shape=(None,)}} : float64[%o]\n"
        "%w = broadcast %x, %t {shape=(None,)} : float64[%t]\n%r = add %s, %w : float64[%o]\nreturn %r".replace("%w :", "%s :"),
        [], ["%t"],
    ),
    Case(
        "types in attributes follow",
        f"{c('o', '3', I)}\n{c('t', '3', I)}\n%s = list_empty {{type=list[float64[%t]]}} : list[float64[%t]]\nreturn %s, %o",
        ["list_empty {type=list[float64[%o]]} : list[float64[%o]]"], ["%t"],
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CSE, ids=lambda case: case.name)
def test_cse(case: Case) -> None:
    run_case(case, cse)


CSE_OFF = [
    Case("in two arms",
         f"%r = if %p : {F}\n^() {{\n%t = sin %x : {F}\nyield %t\n}}\n^() {{\n%t2 = sin %x : {F}\nyield %t2\n}}\nreturn %r"),
    Case("after the region", f"%r = if %p : {F}\n^() {{\n%t = sin %x : {F}\nyield %t\n}}\n^() {{\nyield %y\n}}\n%s = sin %x : {F}\nreturn %r, %s"),
    Case("x - y and y - x", f"%s = subtract %x, %y : {F}\n%t = subtract %y, %x : {F}\nreturn %s, %t"),
    Case("maximum has an order", f"%s = maximum %x, %y : {F}\n%t = maximum %y, %x : {F}\nreturn %s, %t"),
    Case("1 and True", f"{c('s', '1', I)}\n{c('t', 'True', B)}\n{c('w', '1.0')}\nreturn %s, %t, %w"),
    Case("lists of their own",
         "%s = list_empty {type=list[float64[]]} : list[float64[]]\n%t = list_empty {type=list[float64[]]} : list[float64[]]\nreturn %s, %t"),
    Case("checks of two values", "check %p {exception=IndexError, message='a'}\ncheck %q {exception=IndexError, message='a'}\nreturn"),
    Case("check after an arm",
         f"%r = if %q : {F}\n^() {{\ncheck %p {{exception=IndexError, message='a'}}\nyield %x\n}}\n^() {{\nyield %y\n}}\n"
         "check %p {exception=IndexError, message='b'}\nreturn %r"),
]  # fmt: skip


@pytest.mark.parametrize("case", CSE_OFF, ids=lambda case: case.name)
def test_cse_leaves_alone(case: Case) -> None:
    run_case(case, cse, unchanged=True)


def loop(body: str, trips: str = "%n", result: str = "%w") -> str:
    return f"%r = for {trips}, %x : {F}\n^(%k: {I}, %s: {F}) {{\n{body}\nyield {result}\n}}\nreturn %r"


LICM = [
    Case("scalar", loop(f"%t = sin %y : {F}\n%w = add %s, %t : {F}"), ["%t = sin %y : float64[]\n  %r = for"], []),
    Case("constant", loop(f"{c('t', '2.0')}\n%w = add %s, %t : {F}"), ["float64[]\n  %r = for"], []),
    Case(
        "chain out of two",
        loop(f"%o = for %n, %s : {F}\n^(%k2: {I}, %e: {F}) {{\n%t = sin %y : {F}\n%t2 = cos %t : {F}\n%w = add %e, %t2 : {F}\nyield %w\n}}",
             result="%o"),
        ["%t2 = cos %t : float64[]\n  %r = for"], [],
    ),
    Case(
        "out of one of two",
        loop(f"%o = for %n, %s : {F}\n^(%k2: {I}, %e: {F}) {{\n%t = sin %s : {F}\n%w = add %e, %t : {F}\nyield %w\n}}", result="%o"),
        ["%t = sin %s : float64[]\n    %o = for"], [],
    ),
    Case(
        "through an arm",
        loop(f"%o = if %p : {F}\n^() {{\n%t = sin %y : {F}\n%w = add %s, %t : {F}\nyield %w\n}}\n^() {{\nyield %s\n}}", result="%o"),
        ["%t = sin %y : float64[]\n  %r = for"], [],
    ),
    Case(
        "costly out of a loop that runs",
        f"{c('o', '2', I)}\n" + loop(f"%t = reduce_sum %v {{axes=(0,)}} : {F}\n%w = add %s, %t : {F}", trips="%o"),
        ["%t = reduce_sum %v {axes=(0,)} : float64[]\n  %r = for"], ["if"],
    ),
    Case(
        "costly under a guard",
        loop(f"%t = reduce_sum %v {{axes=(0,)}} : {F}\n%t1 = sin %t : {F}\n%t2 = negative %v : float64[%n]\n"
             f"%t3 = exp %t2 : float64[%n]\n%o = load %t3, %k {{index=(@_,)}} : {F}\n%w = add %o, %t1 : {F}"),
        ["%1 = greater %n, %0 : bool[]", "%t1 = sin %t : float64[]", "undef {shape=(), dtype=float64}",
         "undef %n {shape=(None,), dtype=float64} : float64[%n]", "load %t3, %k"], [],
    ),
    Case(
        "inner loop under a guard",
        loop(f"%o = for %j, %y : {F}\n^(%k2: {I}, %e: {F}) {{\n%t = sin %e : {F}\nyield %t\n}}\n%w = add %s, %o : {F}"),
        ["if %1 : float64[]\n  ^() {\n    %2 = for %j, %y : float64[]", "  %r = for %n, %x"], [],
    ),
    Case(
        "read in range", loop(f"%t = load %a {{index=(@3,)}} : {F}\n%w = add %s, %t : {F}"),
        ["%t = load %a {index=(@3,)} : float64[]\n  %r = for"], [],
    ),
    Case(
        "guarded read of a loop that runs",
        f"{c('o', '2', I)}\n{c('f', '4', I)}\n%i4 = remainder %i, %f : {I}\n"
        + loop(f"%t = load %a, %i4 {{index=(@_,)}} : {F}\n%w = add %s, %t : {F}", trips="%o"),
        ["%t = load %a, %i4 {index=(@_,)} : float64[]\n  %r = for"], [],
    ),
    Case(
        "the test of a while",
        f"%r = while %i : {I}\n^(%s: {I}) {{\n%t = reduce_sum %m {{axes=(0, 1)}} : {F}\n%t2 = cast %s {{dtype=float64}} : {F}\n"
        f"%t4 = absolute %t : {F}\n{c('t5', '2.0')}\n%t6 = minimum %t4, %t5 : {F}\n%t3 = less %t2, %t6 : {B}\nyield %t3\n}}\n"
        f"^(%e: {I}) {{\n{c('o', '1', I)}\n%w = add %e, %o : {I}\nyield %w\n}}\nreturn %r",
        ["float64[]\n  %o = constant {value=1} : int64[]\n  %r = while", "%t6 = minimum"], [],
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", LICM, ids=lambda case: case.name)
def test_licm(case: Case) -> None:
    run_case(case, licm)


LICM_OFF = [
    Case("depends on the index", loop(f"%t = cast %k {{dtype=float64}} : {F}\n%w = add %s, %t : {F}")),
    Case("check", loop(f"check %p {{exception=ValueError, message='no'}}\n%w = sin %s : {F}")),
    Case("read that a check guards",
         f"{c('o', '2', I)}\n{c('f', '4', I)}\n%g = less %i, %f : {B}\n"
         + loop(f"check %g {{exception=ValueError, message='no'}}\n%t = load %a, %i {{index=(@_,)}} : {F}\n%w = add %s, %t : {F}", trips="%o")),
    Case("read in a loop that may not run",
         f"{c('f', '4', I)}\n%i4 = remainder %i, %f : {I}\n"
         + loop(f"%t = load %a, %i4 {{index=(@_,)}} : {F}\n%w = add %s, %t : {F}")),
    Case("costly in an arm",
         loop(f"%o = if %p : {F}\n^() {{\n%t = reduce_sum %v {{axes=(0,)}} : {F}\n%w = add %s, %t : {F}\nyield %w\n}}\n"
              "^() {\nyield %s\n}", result="%o")),
    Case("costly in a while",
         f"%r = while %i : {I}\n^(%s: {I}) {{\n%t3 = less %s, %j : {B}\nyield %t3\n}}\n"
         f"^(%e: {I}) {{\n%t = argmax %v {{axis=0}} : {I}\n%w = maximum %t, %j : {I}\nyield %w\n}}\nreturn %r".replace(
             "argmax %v {axis=0}", "argmax %a {axis=0}").replace("%a", "%v")),
    Case("a list of its own",
         loop(f"%l = list_empty {{type=list[float64[]]}} : list[float64[]]\n%l2 = list_push %l, %s : list[float64[]]\n"
              f"%g = list_length %l2 : {I}\n%w = cast %g {{dtype=float64}} : {F}")),
]  # fmt: skip


@pytest.mark.parametrize("case", LICM_OFF, ids=lambda case: case.name)
def test_licm_leaves_alone(case: Case) -> None:
    run_case(case, licm, unchanged=True)


DCE = [
    Case("dead op", f"%s = sin %x : {F}\nreturn %x", ["return %x"], ["sin"]),
    Case("dead loop", loop(f"%w = sin %s : {F}").replace("return %r", "return %x"), [], ["for", "sin"]),
    Case("dead if", f"%r = if %p : {F}\n^() {{\n%s = sin %x : {F}\nyield %s\n}}\n^() {{\nyield %y\n}}\nreturn %x", [], ["if", "sin"]),
    Case(
        "dead carried value",
        f"%r, %d, %o = for %n, %x, %y, %y : {F}, {F}, {F}\n^(%k: {I}, %s: {F}, %t: {F}, %q2: {F}) {{\n%w = sin %s : {F}\n"
        f"%w2 = cos %t : {F}\n%w3 = exp %w : {F}\nyield %w, %w2, %w3\n}}\nreturn %o",
        ["%r, %o = for %n, %x, %y : float64[], float64[]", "yield %w, %w3", "return %o"], ["cos"],
    ),
    Case(
        "carried values that only feed each other",
        f"%r, %d, %o = for %n, %x, %y, %y : {F}, {F}, {F}\n^(%k: {I}, %s: {F}, %t: {F}, %q2: {F}) {{\n%w = sin %s : {F}\n"
        f"yield %w, %q2, %t\n}}\nreturn %r", ["%r = for %n, %x : float64[]\n", "(%k: int64[], %s: float64[])"], [],
    ),
    Case(
        "dead position of a while",
        f"%r, %d = while %i, %x : {I}, {F}\n^(%s: {I}, %t: {F}) {{\n%t3 = less %s, %n : {B}\nyield %t3\n}}\n"
        f"^(%e: {I}, %g: {F}) {{\n{c('o', '1', I)}\n%w = add %e, %o : {I}\n%w2 = sin %g : {F}\nyield %w, %w2\n}}\nreturn %r",
        ["%r = while %i : int64[]\n  ^(%s: int64[]) {"], ["sin"],
    ),
    Case(
        "dead result of an if",
        f"%r, %d = if %p : {F}, {F}\n^() {{\n%s = sin %x : {F}\n%t = cos %x : {F}\nyield %s, %t\n}}\n^() {{\nyield %y, %y\n}}\nreturn %d",
        ["%d = if %p : float64[]", "yield %t", "yield %y\n"], ["sin"],
    ),
    Case(
        "a tape that nobody reads",
        f"%l = list_empty {{type=list[float64[]]}} : list[float64[]]\n%r, %l3 = for %n, %x, %l : {F}, list[float64[]]\n"
        f"^(%k: {I}, %s: {F}, %t: list[float64[]]) {{\n%t2 = list_push %t, %s : list[float64[]]\n%w = sin %s : {F}\nyield %w, %t2\n}}\n"
        f"%l4 = for %n, %l3 : list[float64[]]\n^(%k2: {I}, %t4: list[float64[]]) {{\n%t5 = list_pop %t4 : list[float64[]]\nyield %t5\n}}\n"
        "return %r", ["%r = for %n, %x : float64[]\n"], ["list"],
    ),
    Case(
        "what a check needs stays",
        f"%r, %d = for %n, %x, %y : {F}, {F}\n^(%k: {I}, %s: {F}, %t: {F}) {{\n%w = sin %s : {F}\n%w2 = cos %t : {F}\n"
        f"%g = less %s, %y : {B}\n%g2 = logical_or %g, %p : {B}\ncheck %g2, %w {{exception=ValueError, message='{{0}}'}}\n"
        "yield %w, %w2\n}\nreturn %x", ["%r = for %n, %x : float64[]\n", "check %g2, %w"], ["cos"],
    ),
    Case(
        "sizes in types stay alive",
        f"%o = add %n, %n : {I}\n%s = list_empty {{type=list[float64[%o]]}} : list[float64[%o]]\n%d = sin %x : {F}\nreturn %s",
        ["%o = add %n, %n"], ["sin"],
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", DCE, ids=lambda case: case.name)
def test_dce(case: Case) -> None:
    run_case(case, dce)


def test_dce_keeps_input_and_output() -> None:
    graph = Graph("f", [FLOAT64])
    g = Builder(graph)
    g.call_back(graph.args[0], function=np.sin, types=(FLOAT64,))
    assert not dce(graph)
    assert len(graph.ops) == 1


def test_passes_keep_locations() -> None:
    for seed in range(10):
        graph = random_graph(seed, size=30)
        known = {id(op.location) for op in graph.walk()}
        optimise(graph)
        assert {id(op.location) for op in graph.walk()} <= known


# --- properties


@pytest.mark.parametrize("seed", range(80))
def test_every_pass_keeps_every_bit(seed: int) -> None:
    graph = random_graph(seed, size=5 + seed % 35, depth=1 + seed % 3, tame=seed % 5 == 0)
    arguments = [random_args(graph, seed + k) for k in range(3)]
    before = [outcome(graph, args) for args in arguments]
    for run in PASSES * 2:
        text = print_graph(graph)
        changed = run(graph)
        verify(graph)
        assert changed or print_graph(graph) == text, f"{run.__name__} changed the graph and did not say so"
        assert [outcome(graph, args) for args in arguments] == before, run.__name__
    back = parse(print_graph(graph))
    assert structurally_equal(graph, back)


@pytest.mark.parametrize("seed", range(60))
def test_optimise_settles_and_keeps_every_bit(seed: int) -> None:
    graph = random_graph(1000 + seed, size=40, depth=3)
    arguments = [random_args(graph, seed + k) for k in range(3)]
    before = [outcome(graph, args) for args in arguments]
    optimise(graph)
    verify(graph)
    assert [outcome(graph, args) for args in arguments] == before
    assert not any(run(graph) for run in PASSES), "there was more to do"
    text = print_graph(graph)
    other = random_graph(1000 + seed, size=40, depth=3)
    optimise(other)
    assert print_graph(other) == text, "two runs differ"


# --- size


def test_deep_nests_need_no_recursion() -> None:
    graph = deep_graph(500)
    for run in PASSES:
        run(graph)
    verify(graph)
    optimise(graph)
    verify(graph)


def test_long_graphs() -> None:
    graph = Graph("long", [FLOAT64, INT64], ["x", "n"])
    g = Builder(graph)
    x, y = graph.args[0], graph.args[0]
    for k in range(5000):
        y = g.add(g.multiply(g.sin(y), float(k % 7)), x)
    graph.yields = [y]
    optimise(graph)
    verify(graph)
    assert 10_000 < len(graph.ops) < 15_010
