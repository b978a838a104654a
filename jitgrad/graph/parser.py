"""Text to graph: the inverse of `printer.py`.

In: what the printer writes, of which one line is one op, `^(...) {`, `}`, `yield` or `return`; empty lines and lines
that begin with `#` say nothing. Out: a Graph with the types and attributes that stand in the text, to the bit.

    graph f(%x: float64[]) {
      %y = sin %x : float64[]
      return %y
    }

The parser checks the grammar, not the graph: a text may state wrong types or use a value before its definition if the
value is defined somewhere (that is how the verifier is tested). It imports no user code: functions and exception
classes that are not builtins are looked up in a dict by the name that the printer wrote.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

import jitgrad.graph.ops  # noqa: F401  (primitives are found by name)
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.literals import DTYPES, NUMBER, number_of
from jitgrad.graph.ops.index import Pick, Span
from jitgrad.graph.primitive import PRIMITIVES
from jitgrad.graph.types import ArrayType, Dim, ListType, Type

__all__ = ["ParseError", "parse"]

_TOKEN = re.compile(
    rf"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<value>%[\w.]+)
    | (?P<number>{NUMBER})
    | (?P<name>[^\W\d][\w.<>]*)
    | (?P<mark>[\^(){{}}\[\],=:@&])
    )""",
    re.VERBOSE,
)
_FINDS = {"numpy.linalg.LinAlgError": np.linalg.LinAlgError}


class ParseError(ValueError):
    """The text is no graph; says the line and what was expected there."""


def parse(text: str, objects: Mapping[str, Any] | None = None) -> Graph:
    """Return the graph of a text.

    Parameters
    ----------
    text : str
    objects : mapping of str to object, optional
        Functions of `call_back` and exception classes by qualified name (`module.name`).

    Raises
    ------
    ParseError
        If the text does not follow the grammar, or names an unknown primitive, value or object.
    """
    return _Parser(text, objects or {}).graph()


class _Line:
    """The tokens of one line, and the place in it."""

    def __init__(self, number: int, text: str) -> None:
        self.number = number
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        self.at = 0
        end = 0
        while text[end:].strip():
            found = _TOKEN.match(text, end)
            if found is None:
                raise ParseError(f"line {number}: cannot read {text[end:].strip()!r}")
            assert found.lastgroup is not None
            self.tokens.append((found.lastgroup, found.group(found.lastgroup)))
            end = found.end()

    def fail(self, expected: str) -> ParseError:
        found = self.tokens[self.at][1] if self.at < len(self.tokens) else "the end of the line"
        return ParseError(f"line {self.number}: expected {expected}, not {found!r} in `{self.text.strip()}`")

    def peek(self, text: str) -> bool:
        """Whether the next token is this mark or name."""
        return self.at < len(self.tokens) and self.tokens[self.at][1] == text and self.tokens[self.at][0] != "string"

    def kind(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, kind: str) -> str:
        """Return the next token, which is of this kind."""
        if self.kind() != kind:
            raise self.fail(f"a {kind}")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def skip(self, text: str) -> bool:
        """Pass over a mark or name if it comes next."""
        if not self.peek(text):
            return False
        self.at += 1
        return True

    def expect(self, text: str) -> None:
        if not self.skip(text):
            raise self.fail(f"`{text}`")

    def end(self) -> None:
        if self.at != len(self.tokens):
            raise self.fail("the end of the line")


class _Parser:
    def __init__(self, text: str, objects: Mapping[str, Any]) -> None:
        self.objects = objects
        self.values: dict[str, Value] = {}
        # Uses that precede their definitions, which only a wrong graph has: put right at the end.
        self.forward: dict[str, Value] = {}
        lines = ((i, s) for i, s in enumerate(text.splitlines(), 1))
        self.lines = [_Line(i, s) for i, s in lines if s.strip() and not s.lstrip().startswith("#")]

    def graph(self) -> Graph:
        if not self.lines:
            raise ParseError("line 1: expected a graph, not an empty text")
        line = self.lines[0]
        line.expect("graph")
        name = ast.literal_eval(line.take("string")) if line.kind() == "string" else line.take("name")
        graph = Graph(name)
        self.arguments(line, graph)
        # The blocks that are open, innermost last; the line before a `}` must have ended the block.
        stack: list[Block] = [graph]
        ended = False
        for line in self.lines[1:]:
            if not stack:
                raise line.fail("the end of the text")
            block = stack[-1]
            if line.skip("}"):
                if not ended:
                    raise line.fail("`return`" if block is graph else "`yield`")
                stack.pop()
                ended = False
            elif ended:
                raise line.fail("`}`")
            elif line.skip("^"):
                if not block.ops:
                    raise line.fail("an op before its region")
                region = Block()
                self.arguments(line, region)
                block.ops[-1].regions.append(region)
                stack.append(region)
            elif line.skip("return" if block is graph else "yield"):
                block.yields = self.uses(line)
                ended = True
            else:
                block.ops.append(self.op(line))
            line.end()
        if stack:
            raise ParseError(f"line {self.lines[-1].number}: expected `}}` after the last line")
        self.resolve(graph)
        return graph

    def arguments(self, line: _Line, block: Block) -> None:
        """Read `(%x: type, ...) {`; names first, since a dimension may be an argument further right."""
        line.expect("(")
        start = line.at
        for later in (False, True):
            line.at = start
            count = 0
            while not line.peek(")"):
                if count:
                    line.expect(",")
                name = line.take("value")
                line.expect(":")
                if later:
                    block.args[count].type = self.type(line)
                else:
                    arg = block.add_arg(ArrayType(DTYPES["bool"]), _hint(name))
                    self.define(line, name, arg)
                    self.skip_type(line)
                count += 1
        line.expect(")")
        line.expect("{")

    def skip_type(self, line: _Line) -> None:
        line.take("name")
        line.expect("[")
        depth = 1
        while depth:
            depth += line.peek("[") - line.peek("]")
            if not line.kind():
                raise line.fail("`]`")
            line.at += 1

    def define(self, line: _Line, name: str, value: Value) -> None:
        if name in self.values:
            raise ParseError(f"line {line.number}: {name} is defined twice")
        self.values[name] = value

    def use(self, name: str) -> Value:
        if name in self.values:
            return self.values[name]
        if name not in self.forward:
            self.forward[name] = Value(ArrayType(DTYPES["bool"]), Block(), 0, _hint(name))
        return self.forward[name]

    def uses(self, line: _Line) -> list[Value]:
        found = []
        if line.kind() == "value":
            found.append(self.use(line.take("value")))
            while line.skip(","):
                found.append(self.use(line.take("value")))
        return found

    def op(self, line: _Line) -> Op:
        names = []
        if line.kind() == "value":
            names.append(line.take("value"))
            while line.skip(","):
                names.append(line.take("value"))
            line.expect("=")
        name = line.take("name")
        if name not in PRIMITIVES:
            raise ParseError(f"line {line.number}: there is no primitive {name!r}")
        operands = self.uses(line)
        attrs: dict[str, Any] = {}
        literal: Any = None
        if line.skip("{"):
            while not line.peek("}"):
                if attrs or literal is not None:
                    line.expect(",")
                key = line.take("name")
                if not line.skip("="):
                    attrs[key] = True
                elif name == "constant" and key == "value":
                    literal = self.nested(line)
                    attrs[key] = None
                else:
                    attrs[key] = self.attr(line)
            line.expect("}")
        types: list[Type] = []
        if line.skip(":"):
            types.append(self.type(line))
            while line.skip(","):
                types.append(self.type(line))
        if len(types) != len(names):
            raise line.fail(f"{len(names)} types")
        if literal is not None:
            attrs["value"] = self.array(line, types[0], literal)
        op = Op(PRIMITIVES[name], operands, attrs, [], types, None)
        for result, text in zip(op.results, names, strict=True):
            result.name = _hint(text)
            self.define(line, text, result)
        return op

    def type(self, line: _Line) -> Type:
        name = line.take("name")
        line.expect("[")
        if name == "list":
            element = self.type(line)
            line.expect("]")
            if not isinstance(element, ArrayType):
                raise line.fail("a list of arrays")
            return ListType(element)
        if name not in DTYPES:
            raise ParseError(f"line {line.number}: there is no dtype {name!r}")
        dims: list[Dim] = []
        while not line.peek("]"):
            if dims:
                line.expect(",")
            dims.append(self.use(line.take("value")) if line.kind() == "value" else int(line.take("number")))
        line.expect("]")
        return ArrayType(DTYPES[name], tuple(dims))

    # --- attributes

    def attr(self, line: _Line) -> Any:
        kind = line.kind()
        if kind == "string":
            return ast.literal_eval(line.take("string"))
        if line.skip("@"):
            return Pick(self.entry(line))
        if line.skip("&"):
            return self.object(line, line.take("name"))
        if line.skip("("):
            items = []
            while not line.skip(")"):
                items.append(self.attr(line))
                if not line.peek(")"):
                    line.expect(",")
            return tuple(items)
        if kind == "number" or line.peek("_"):
            following = line.tokens[line.at + 1][1] if line.at + 1 < len(line.tokens) else ""
            if following == ":":
                start = self.entry(line)
                line.expect(":")
                step = self.entry(line)
                line.expect(":")
                return Span(start, step, self.entry(line))
            return _python_number(line.take("number"))
        word = line.take("name")
        if word in ("True", "False", "None"):
            return {"True": True, "False": False, "None": None}[word]
        if line.peek("["):
            line.at -= 1
            type = self.type(line)
            if not line.skip("("):
                return type
            made = self.array(line, type, self.nested(line))
            line.expect(")")
            return made
        return DTYPES[word] if word in DTYPES else self.object(line, word)

    def entry(self, line: _Line) -> int | None:
        return None if line.skip("_") else int(line.take("number"))

    def nested(self, line: _Line) -> Any:
        """Read numbers in nested brackets, as text: their dtype may stand further right."""
        if not line.skip("["):
            return line.take("name" if line.kind() == "name" else "number")
        items = []
        while not line.skip("]"):
            items.append(self.nested(line))
            if not line.peek("]"):
                line.expect(",")
        return items

    def array(self, line: _Line, type: Type, literal: Any) -> np.ndarray:
        """Return the array of a type whose elements `nested` read."""
        if not isinstance(type, ArrayType) or not type.is_static:
            raise line.fail("an array of known shape")
        made = np.empty([d for d in type.shape if isinstance(d, int)], type.dtype)
        texts = _flat(literal)
        if len(texts) != made.size:
            raise ParseError(f"line {line.number}: {len(texts)} numbers for {type}")
        try:
            for at, text in enumerate(texts):
                made.reshape(-1)[at] = number_of(text, type.dtype)
        except ValueError as odd:
            raise ParseError(f"line {line.number}: {odd}") from None
        return made

    def object(self, line: _Line, name: str) -> Any:
        found = self.objects.get(name, _FINDS.get(name, getattr(builtins, name, None)))
        if found is None:
            raise ParseError(f"line {line.number}: {name!r} is no builtin and not among the objects given")
        return found

    def resolve(self, graph: Graph) -> None:
        """Put in the values that were used before their definitions, or fail on those without one."""
        if not self.forward:
            return
        missing = [name for name in self.forward if name not in self.values]
        if missing:
            raise ParseError(f"{', '.join(missing)} is not defined")
        graph.replace_uses({stand_in: self.values[name] for name, stand_in in self.forward.items()})


def _hint(name: str) -> str:
    return "" if name[1:].isdigit() else name[1:]


def _flat(literal: Any) -> list[str]:
    if isinstance(literal, str):
        return [literal]
    return [x for item in literal for x in _flat(item)]


def _python_number(text: str) -> Any:
    if text.lstrip("+-").isdigit():
        return int(text)
    if text.endswith("j"):
        return complex(number_of(text, DTYPES["complex128"]))
    return float(number_of(text, DTYPES["float64"]))
