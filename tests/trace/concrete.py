"""A concrete interpreter of region trees over real Python objects: what the instructions mean, tested.

In: a function and arguments. Out: what its tree computes, to be compared with what CPython computes. Functions of the
same module are interpreted too; a generator becomes an iterator over all that it yields. Exceptions go out as they are.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import operator
import types
from collections.abc import Callable, Iterator
from typing import Any

from jitgrad.trace.blocks import BasicBlock
from jitgrad.trace.bytecode import NULL, Instr
from jitgrad.trace.regions import RETURN, CodeTree, Continue, Goto, LoopNode, structure

__all__ = ["agree", "evaluate", "outcome"]

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "@": operator.matmul,
    "<<": operator.lshift,
    ">>": operator.rshift,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
}
_INPLACE: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.iadd,
    "-": operator.isub,
    "*": operator.imul,
    "/": operator.itruediv,
    "//": operator.ifloordiv,
    "%": operator.imod,
    "**": operator.ipow,
    "@": operator.imatmul,
    "<<": operator.ilshift,
    ">>": operator.irshift,
    "&": operator.iand,
    "|": operator.ior,
    "^": operator.ixor,
}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
}
_UNARY: dict[str, Callable[[Any], Any]] = {
    "-": operator.neg,
    "+": operator.pos,
    "~": operator.invert,
    "not": operator.not_,
}
_ATTRIBUTES = {"defaults": "__defaults__", "kwdefaults": "__kwdefaults__"}


def evaluate(
    function: types.FunctionType,
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    tree: CodeTree | None = None,
) -> Any:
    """Return what the tree of a function computes, or another tree in its place."""
    return _Frame(function, args, kwargs or {}, tree).run()


def outcome(run: Callable[[], Any]) -> tuple[str, str]:
    """Return what a call gives: the result's text, an iterator's items; or the exception's type and text."""
    try:
        result = run()
        return "result", repr(list(result) if isinstance(result, Iterator) else result)
    except Exception as exception:
        return type(exception).__name__, str(exception)


def agree(want: tuple[str, str], got: tuple[str, str]) -> bool:
    """Whether two outcomes are equal; some versions add the callee, or a count, to the texts of exceptions."""
    if want[0] != got[0]:
        return False
    return want[1] == got[1] or (want[0] != "result" and (want[1].endswith(got[1]) or want[1].startswith(got[1][:-1])))


class _Frame:
    def __init__(
        self,
        function: types.FunctionType,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tree: CodeTree | None = None,
    ) -> None:
        code = function.__code__
        self.function = function
        self.globals = function.__globals__
        signature = inspect.signature(function, follow_wrapped=False)
        if any(name.startswith(".") for name in code.co_varnames[: code.co_argcount]):
            self.locals = dict(zip(code.co_varnames, args, strict=False))
        else:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            self.locals = dict(bound.arguments)
        self.cells: dict[str, types.CellType] = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        self.stack: list[Any] = []
        self.yielded: list[Any] = []
        self.code = code
        self.tree = tree or structure(code)

    def run(self) -> Any:
        target = self.walk(self.tree.body)
        assert target == RETURN
        result = self.pop()
        assert not self.stack
        return iter(self.yielded) if self.code.co_flags & 0x20 else result

    def pop(self) -> Any:
        return self.stack.pop()

    def take(self, count: int) -> list[Any]:
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def walk(self, node: Any) -> Any:
        if isinstance(node, Goto):
            return self.arrive(node.target)
        if isinstance(node, LoopNode):
            at = self.walk(node.body)
            while at == Continue(node.header):
                at = self.walk(node.body)
            if at in node.exits:
                at = self.walk(node.exits[at])
        else:
            at = self.arrive(RETURN) if (way := self.block(node.block)) is None else self.walk(node.arms[way])
        for target, join in node.joins:
            if at == target:
                at = self.walk(join)
        return at

    def arrive(self, target: Any) -> Any:
        """Forget what liveness calls dead: a wrong answer of it then shows as an unbound variable."""
        if target != RETURN:
            live = self.tree.live_in(target.header if isinstance(target, Continue) else target)
            self.locals = {k: v for k, v in self.locals.items() if k in live}
        return target

    def block(self, block: BasicBlock) -> int | None:
        """Run a block; return which successor comes next, None behind a return."""
        for k, instr in enumerate(block.instrs):
            self.step(instr)
            live = self.tree.live_after(block.number, k)
            self.locals = {name: v for name, v in self.locals.items() if name in live}
        if block.end == "jump":
            return 0
        if block.end == "return":
            return None
        if block.end == "raise":
            self.throw(self.take(block.arg))
        if block.end == "for":
            try:
                self.stack.append(next(self.stack[-1]))
            except StopIteration:
                self.pop()
                return 1
            return 0
        x = self.pop()
        taken = {
            "true": lambda: bool(x),
            "false": lambda: not x,
            "none": lambda: x is None,
            "notnone": lambda: x is not None,
        }
        return 0 if taken[block.arg]() else 1

    def throw(self, operands: list[Any]) -> None:
        exception = operands[0]() if isinstance(operands[0], type) else operands[0]
        if len(operands) == 2:
            raise exception from operands[1]
        raise exception

    def call(self, function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if function is super and not args:
            return super(self.cells["__class__"].cell_contents, self.first())
        if isinstance(function, types.MethodType):
            return self.call(function.__func__, [function.__self__, *args], kwargs)
        if isinstance(function, types.FunctionType) and function.__globals__ is self.globals:
            return evaluate(function, tuple(args), kwargs)
        return function(*args, **kwargs)

    def first(self) -> Any:
        name = self.code.co_varnames[0]
        return self.locals[name] if name in self.locals else self.cells[name].cell_contents

    def step(self, instr: Instr) -> None:
        getattr(self, f"op_{instr.op}")(instr.arg)

    # --- variables

    def op_local(self, name: str) -> None:
        if name not in self.locals:
            raise UnboundLocalError(f"cannot access local variable '{name}' where it is not associated with a value")
        self.stack.append(self.locals[name])

    def op_setlocal(self, name: str) -> None:
        value = self.pop()
        self.locals.pop(name, None)
        if value is not NULL:
            self.locals[name] = value

    def op_dellocal(self, name: str) -> None:
        self.op_local(name)
        self.pop()
        del self.locals[name]

    def op_localclear(self, name: str) -> None:
        self.stack.append(self.locals.pop(name, NULL))

    def op_mkcell(self, name: str) -> None:
        self.cells[name] = types.CellType(self.locals.pop(name)) if name in self.locals else types.CellType()

    def op_cell(self, name: str) -> None:
        try:
            self.stack.append(self.cells[name].cell_contents)
        except ValueError:
            if name in self.code.co_freevars:
                message = (
                    f"cannot access free variable '{name}' where it is not associated with a value in enclosing scope"
                )
                raise NameError(message) from None
            message = f"cannot access local variable '{name}' where it is not associated with a value"
            raise UnboundLocalError(message) from None

    def op_setcell(self, name: str) -> None:
        self.cells[name].cell_contents = self.pop()

    def op_delcell(self, name: str) -> None:
        del self.cells[name].cell_contents

    def op_cellobj(self, name: str) -> None:
        self.stack.append(self.cells[name])

    def op_global(self, name: str) -> None:
        if name in self.globals:
            self.stack.append(self.globals[name])
        elif hasattr(builtins, name):
            self.stack.append(getattr(builtins, name))
        else:
            raise NameError(f"name '{name}' is not defined")

    def op_setglobal(self, name: str) -> None:
        self.globals[name] = self.pop()

    # --- stack

    def op_const(self, value: Any) -> None:
        self.stack.append(value)

    def op_null(self, _: Any) -> None:
        self.stack.append(NULL)

    def op_pop(self, _: Any) -> None:
        self.pop()

    def op_dup(self, n: int) -> None:
        self.stack.append(self.stack[-n])

    def op_swap(self, n: int) -> None:
        self.stack[-1], self.stack[-n] = self.stack[-n], self.stack[-1]

    def op_nop(self, _: Any) -> None:
        pass

    # --- operators, attributes, items

    def op_binary(self, op: str) -> None:
        x, y = self.take(2)
        self.stack.append(_BINARY[op](x, y))

    def op_inplace(self, op: str) -> None:
        x, y = self.take(2)
        self.stack.append(_INPLACE[op](x, y))

    def op_compare(self, op: str) -> None:
        x, y = self.take(2)
        self.stack.append(_COMPARE[op](x, y))

    def op_is(self, invert: bool) -> None:
        x, y = self.take(2)
        self.stack.append((x is y) != invert)

    def op_in(self, invert: bool) -> None:
        x, y = self.take(2)
        self.stack.append((x in y) != invert)

    def op_unary(self, op: str) -> None:
        self.stack.append(_UNARY[op](self.pop()))

    def op_truth(self, _: Any) -> None:
        self.stack.append(bool(self.pop()))

    def op_getitem(self, _: Any) -> None:
        x, key = self.take(2)
        self.stack.append(x[key])

    def op_setitem(self, _: Any) -> None:
        value, x, key = self.take(3)
        x[key] = value

    def op_delitem(self, _: Any) -> None:
        x, key = self.take(2)
        del x[key]

    def op_slice(self, n: int) -> None:
        self.stack.append(slice(*self.take(n)))

    def op_attr(self, name: str) -> None:
        self.stack.append(getattr(self.pop(), name))

    def op_method(self, name: str) -> None:
        self.stack += [getattr(self.pop(), name), NULL]

    def op_superattr(self, name: str) -> None:
        _, cls, self_ = self.take(3)
        self.stack.append(getattr(super(cls, self_), name))

    def op_setattr(self, name: str) -> None:
        value, x = self.take(2)
        setattr(x, name, value)

    def op_delattr(self, name: str) -> None:
        delattr(self.pop(), name)

    # --- building

    def op_build(self, arg: tuple[str, int]) -> None:
        kind, n = arg
        if kind == "map":
            flat = self.take(2 * n)
            self.stack.append(dict(zip(flat[::2], flat[1::2], strict=True)))
        elif kind == "constmap":
            keys = self.pop()
            self.stack.append(dict(zip(keys, self.take(n), strict=True)))
        else:
            make: dict[str, Callable[[Any], Any]] = {"tuple": tuple, "list": list, "set": set, "string": "".join}
            self.stack.append(make[kind](self.take(n)))

    def op_accum(self, arg: tuple[str, int]) -> None:
        kind, depth = arg
        value = self.pop()
        key = self.pop() if kind == "map_add" else None
        target = self.stack[-depth]
        if kind == "map_add":
            target[key] = value
        elif kind == "dict_merge":
            twice = set(target) & set(value)
            if twice:
                raise TypeError(f"got multiple values for keyword argument '{twice.pop()}'")
            target.update(value)
        else:
            name = {"list_append": "append", "list_extend": "extend", "set_add": "add"}.get(kind, "update")
            getattr(target, name)(value)

    def op_totuple(self, _: Any) -> None:
        self.stack.append(tuple(self.pop()))

    def op_unpack(self, n: int) -> None:
        items = list(self.pop())
        if len(items) < n:
            raise ValueError(f"not enough values to unpack (expected {n}, got {len(items)})")
        if len(items) > n:
            raise ValueError(f"too many values to unpack (expected {n})")
        self.stack += items[::-1]

    def op_unpackex(self, arg: tuple[int, int]) -> None:
        before, after = arg
        items = list(self.pop())
        if len(items) < before + after:
            raise ValueError(f"not enough values to unpack (expected at least {before + after}, got {len(items)})")
        end = len(items) - after
        self.stack += [*items[:before], items[before:end], *items[end:]][::-1]

    def op_iter(self, _: Any) -> None:
        self.stack.append(iter(self.pop()))

    # --- calls and functions

    def op_call(self, arg: tuple[int, tuple[str, ...]]) -> None:
        n, names = arg
        args = self.take(n)
        lo, hi = self.take(2)
        callee = hi if lo is NULL else lo
        if lo is not NULL and hi is not NULL:
            args = [hi, *args]
        split = len(args) - len(names)
        self.stack.append(self.call(callee, args[:split], dict(zip(names, args[split:], strict=True))))

    def op_callkw(self, n: int) -> None:
        self.op_call((n, self.pop()))

    def op_callex(self, has_kwargs: bool) -> None:
        kwargs: Any = self.pop() if has_kwargs else NULL
        args = list(self.pop())
        lo, hi = self.take(2)
        callee = hi if lo is NULL else lo
        self.stack.append(self.call(callee, args, {} if kwargs is NULL else dict(kwargs)))

    def op_makefn(self, _: Any) -> None:
        code = self.pop()
        closure = tuple(types.CellType() for _ in code.co_freevars)
        self.stack.append(types.FunctionType(code, self.globals, code.co_name, None, closure))

    def op_fnattr(self, name: str) -> None:
        value, function = self.take(2)
        if name == "closure":
            made = types.FunctionType(function.__code__, self.globals, function.__name__, function.__defaults__, value)
            made.__kwdefaults__ = function.__kwdefaults__
            function = made
        elif name in _ATTRIBUTES:
            setattr(function, _ATTRIBUTES[name], value)
        self.stack.append(function)

    def op_import(self, name: str) -> None:
        level, names = self.take(2)
        assert level == 0
        module = importlib.import_module(name)
        self.stack.append(module if names else importlib.import_module(name.split(".")[0]))

    def op_importfrom(self, name: str) -> None:
        self.stack.append(getattr(self.stack[-1], name))

    def op_yield(self, _: Any) -> None:
        self.yielded.append(self.pop())
        self.stack.append(None)

    # --- texts, with, match

    def op_convert(self, conversion: str | None) -> None:
        self.op_format((conversion, False), plain=True)

    def op_format(self, arg: tuple[str | None, bool], plain: bool = False) -> None:
        conversion, has_spec = arg
        spec = self.pop() if has_spec else ""
        value = self.pop()
        make: dict[str | None, Callable[[Any], Any]] = {"s": str, "r": repr, "a": ascii}
        value = make.get(conversion, lambda x: x)(value)
        self.stack.append(value if plain else format(value, spec))

    def op_with_enter(self, _: Any) -> None:
        manager = self.pop()
        self.stack += [manager.__exit__, manager.__enter__()]

    def op_get_len(self, _: Any) -> None:
        self.stack.append(len(self.stack[-1]))

    def op_match_sequence(self, _: Any) -> None:
        self.stack.append(isinstance(self.stack[-1], list | tuple | range))

    def op_match_mapping(self, _: Any) -> None:
        self.stack.append(isinstance(self.stack[-1], dict))

    def op_match_keys(self, _: Any) -> None:
        subject, keys = self.stack[-2:]
        self.stack.append(tuple(subject[k] for k in keys) if all(k in subject for k in keys) else None)

    def op_match_class(self, positional: int) -> None:
        subject, cls, names = self.take(3)
        if not isinstance(subject, cls):
            self.stack.append(None)
            return
        if cls in (int, float, str, list, tuple, dict, bool) and positional:
            self.stack.append((subject,))
            return
        fields = [*cls.__match_args__[:positional], *names] if positional else names
        found = all(hasattr(subject, f) for f in fields)
        self.stack.append(tuple(getattr(subject, f) for f in fields) if found else None)
