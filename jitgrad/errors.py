"""Every error that jitgrad raises, in one table.

In: a code, the values that its text names, and a location. Out: an exception whose text says what is wrong, where, and
what to do. Run-time errors of the user's own program (an IndexError, a ZeroDivisionError) are not here: those are
raised as Python and NumPy raise them.

    JitgradError
    ├── UnsupportedError      the program uses something that cannot be compiled (also NotImplementedError)
    ├── DifferentiationError  the program compiles, its derivative is not defined (also TypeError)
    ├── ArgumentError         a transform was called wrongly (also TypeError)
    └── InternalError         a defect of jitgrad (also RuntimeError)
"""

from __future__ import annotations

import ast
import types
from dataclasses import dataclass
from typing import Any, NoReturn

from jitgrad.location import Location

__all__ = [
    "TABLE",
    "ArgumentError",
    "DifferentiationError",
    "InternalError",
    "JitgradError",
    "RecompileWarning",
    "Row",
    "UnsupportedError",
    "check_text",
    "error",
    "located",
    "raise_at",
    "raised_at",
]


class JitgradError(Exception):
    """Base of all errors of jitgrad itself; `code` is its row in the table."""

    code: str = ""
    location: Location | None = None
    # A value of the program whose type must be known, and is decided by data.
    undecided: Any = None


class UnsupportedError(JitgradError, NotImplementedError):
    """The program uses something that jitgrad cannot compile."""


class DifferentiationError(JitgradError, TypeError):
    """The program has no derivative of the kind asked for."""


class ArgumentError(JitgradError, TypeError):
    """A transform was called with arguments that it cannot take."""


class InternalError(JitgradError, RuntimeError):
    """A defect of jitgrad; please report it with the text and the attached graph."""


class RecompileWarning(UserWarning):
    """A function is compiled again and again; the text names the reason."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of error: its class, what happened, and what to do about it."""

    kind: type[JitgradError]
    what: str
    do: str


TABLE: dict[str, Row] = {
    # JG1xx: calls of the transforms
    "JG101": Row(
        ArgumentError,
        "argnums={argnums} does not name an argument of {name}: {why}",
        "give a position, a parameter's name, or a tuple of these",
    ),
    "JG103": Row(ArgumentError, "a {what} among the arguments contains itself", "pass a tree without cycles"),
    "JG104": Row(ArgumentError, "{what} cannot be an argument", "pass a plain ndarray of bool, int, float or complex"),
    "JG105": Row(
        ArgumentError,
        "with has_aux, {name} must return a pair (value, aux), not {what}",
        "return `value, aux`, or leave has_aux out",
    ),
    "JG106": Row(
        ArgumentError, "the {what} does not fit {name}: {why}", "give it the structure and shapes it belongs to"
    ),
    "JG107": Row(ArgumentError, "{kind} takes a function, not {what}", "pass the function itself: {kind}(f)(x)"),
    "JG108": Row(
        ArgumentError,
        "{first}, which the function stores into, shares memory with {second}",
        "pass a copy of one of them",
    ),
    "JG109": Row(
        ArgumentError,
        "the {what} of jvp are {kind}, not a tuple of one for each argument",
        "write jvp(f, (x,), (t,)) for one argument",
    ),
    "JG111": Row(
        DifferentiationError,
        "argument {index!r} of {name} is {what}: no derivative by it",
        "pass a float (write 3.0 for 3, or x.astype(float)), or choose another argument with argnums",
    ),
    "JG112": Row(
        DifferentiationError,
        "argument {index!r} of {name} is {what} without any floating-point leaf",
        "choose another argument with argnums, or make its numbers floats",
    ),
    "JG113": Row(DifferentiationError, "a derivative by {what}", "turn the list into an array first"),
    "JG114": Row(
        DifferentiationError,
        "the gradient needs a real scalar result, and {name} returned {what}",
        "reduce the result to a float (sum, mean), use vjp for other shapes, or has_aux for (value, aux)",
    ),
    "JG115": Row(
        DifferentiationError,
        "argument {index!r} of {name} is complex",
        "differentiate by its real and imaginary parts as two real arguments",
    ),
    "JG116": Row(
        DifferentiationError,
        "the result is {what} in this call, and {wanted} where it has the derivative asked for",
        "return one type on every path, for example by starting with it",
    ),
    # JG2xx: programs that cannot be compiled
    "JG203": Row(UnsupportedError, "{what} cannot be compiled", "write it another way, or move it out of the function"),
    "JG204": Row(UnsupportedError, "the control flow of {name} cannot be structured", "report the function"),
    "JG210": Row(UnsupportedError, "{what}", "make it a number or an array first: np.asarray of numbers of one kind"),
    "JG211": Row(
        UnsupportedError,
        "an array made of a sequence where {what}",
        "give all items one shape; an array of objects cannot be compiled",
    ),
    "JG212": Row(UnsupportedError, "{what}", "take the real part first: x.real"),
    "JG215": Row(
        UnsupportedError, "{name} has no compiled form", "write it with other functions of NumPy, or leave it out"
    ),
    "JG216": Row(
        UnsupportedError,
        "{name} of {dtypes}",
        "use arrays of bool, integer or floating-point numbers (x.astype(float) converts)",
    ),
    "JG217": Row(UnsupportedError, "{what}", "convert to float first, or use a plain int that is known"),
    "JG218": Row(UnsupportedError, "{what}", "use a size that does not depend on data, for example x.shape[0]"),
    "JG219": Row(UnsupportedError, "{what}", "index with a slice or an array: a[:n] has n = int(flag) rows"),
    "JG220": Row(UnsupportedError, "{what} cannot be compiled", "use arrays, tuples, lists or dicts of numbers"),
    "JG221": Row(
        UnsupportedError,
        "{what}",
        "store into an array made before the loop, join arrays as they come (np.append), or use np.array(xs) first",
    ),
    "JG222": Row(UnsupportedError, "{what}", "return the new value instead, with the result or as aux"),
    "JG223": Row(
        UnsupportedError,
        "{name} has no meaning here",
        "use a NumPy function that is supported, or plain Python that can be inlined",
    ),
    "JG224": Row(UnsupportedError, "a store into {name}, {where}", "return the value instead"),
    "JG225": Row(UnsupportedError, "{what} cannot be returned", "return numbers, arrays and containers of these"),
    "JG226": Row(UnsupportedError, "calls nest deeper than {limit}, in {name}", "use a loop instead of recursion"),
    "JG227": Row(UnsupportedError, "raising {name}, an exception class of your own", "raise a built-in exception"),
    "JG228": Row(
        UnsupportedError,
        "{why} must be known when the function is compiled, and depends on data",
        "use a plain int; what data name may be a position in an array or list instead of a key",
    ),
    "JG229": Row(
        UnsupportedError,
        "a loop must be unrolled, and has more than {limit} trips",
        "index an array instead of a list or tuple, so that the loop can stay a loop",
    ),
    "JG230": Row(UnsupportedError, "an array of the subclass {name}", "use np.asarray on it"),
    "JG231": Row(
        UnsupportedError,
        "the attribute {name} of {cls} is a descriptor that is not a function or a property",
        "make it a property or a plain attribute",
    ),
    "JG232": Row(
        UnsupportedError, "`{name}` of {what} has no compiled form", "use a function of NumPy that does the same"
    ),
    "JG233": Row(UnsupportedError, "{what}", "pass it as an argument, or use a list, a tuple or a dict"),
    "JG234": Row(
        UnsupportedError, "a store into attribute `{name}` of {what}", "store into an object of a class of your own"
    ),
    "JG235": Row(
        UnsupportedError,
        "{name} with {argument}",
        "leave the argument out, or do in a step of its own what it asks for",
    ),
    "JG236": Row(
        UnsupportedError,
        "{what} must be known when the function is compiled, and depends on data",
        "use numbers that do not depend on data, or a function of NumPy instead",
    ),
    "JG237": Row(UnsupportedError, "{name}: {why}", "do it outside the function given to the transform"),
    "JG238": Row(
        UnsupportedError,
        "printing or reading inside compiled code",
        "return the value (with has_aux) and print it outside",
    ),
    "JG239": Row(
        UnsupportedError,
        "a choice between a {first} and a {second} that data decide",
        "make both one type: float(...) or np.float64(...)",
    ),
    "JG240": Row(
        UnsupportedError, "{name} cannot be used here: {why}", "give it one type on every path before it is used"
    ),
    "JG241": Row(
        UnsupportedError,
        "a store in place where {names} may or may not be one array, as branches, trips or memory decide ({where})",
        "copy the array when it gets its second name",
    ),
    "JG243": Row(
        UnsupportedError, "{name} changes its type in a loop ({where}): {why}", "start it with the type it will have"
    ),
    "JG244": Row(
        UnsupportedError,
        "{what} differs between Python's numbers and NumPy's, and a number here is one or the other as data decides",
        "make it one kind on every path: float(...) or np.float64(...)",
    ),
    "JG245": Row(
        UnsupportedError,
        "{name} ({text}) is raised where an `except`, a `finally` or a context manager may see it",
        "test for the case with `if` before it is raised",
    ),
    "JG246": Row(
        UnsupportedError,
        "np.interp with points xp that do not increase, where NumPy's result means nothing",
        "sort them first: k = np.argsort(xp); np.interp(x, xp[k], fp[k])",
    ),
    "JG247": Row(
        UnsupportedError,
        "what a loop goes over, or what its items are computed from, changes in the loop or before it",
        "go over a copy: `for x in list(xs)`, or over positions: `while k < len(xs)`",
    ),
    "JG248": Row(
        UnsupportedError,
        "an iterator that is used again after a loop or a function has gone over it",
        "make a list of its items first: `xs = list(...)`",
    ),
    "JG249": Row(
        UnsupportedError,
        "a loop over a generator that changes what is seen in between, or raises where Python may have left the loop",
        "let the generator change nothing, or write the loop out",
    ),
    "JG250": Row(
        UnsupportedError, "{what} has no machine code yet", "use float32, float64, integers and bools of known sizes"
    ),
    "JG251": Row(
        UnsupportedError,
        "a list of arrays, lists or tuples that is empty in this call is used as an array, which NumPy gives one axis",
        "test before whether the list has items",
    ),
    "JG252": Row(
        UnsupportedError,
        "zip(*items) of a list that is empty in this call, which gives nothing",
        "test before whether the list has items",
    ),
    # JG3xx: derivatives
    "JG301": Row(
        DifferentiationError,
        "`{op}` has no derivative: {why}",
        "keep it off the path from the inputs to the result, or differentiate by other arguments",
    ),
    # JG9xx: defects of jitgrad
    "JG900": Row(InternalError, "jitgrad broke one of its own rules: {what}", "report this text and the program"),
    "JG901": Row(
        InternalError,
        "the graph `{graph}` is not well formed, at {where}: {why}\n{text}",
        "report this text and the program",
    ),
    "JG902": Row(InternalError, "the pass {name} changed what a graph computes", "report this text and the program"),
}


def error(code: str, location: Location | None = None, **fields: Any) -> JitgradError:
    """Return the exception for a row of the table, ready to be raised.

    Parameters
    ----------
    code : str
        Key of `TABLE`.
    location : Location, optional
        The user's line; its source, caret and inlining chain become part of the text.
    **fields
        Values for the braces in the row's texts.
    """
    row = TABLE.get(code)
    if row is None:
        code, row, fields = "JG900", TABLE["JG900"], {"what": f"no error is called {code}: {fields}"}
    return located(code, location, row.what.format(**fields), row.do.format(**fields))


def located(code: str, location: Location | None, what: str, do: str) -> JitgradError:
    """Return the exception of a code with texts that are ready."""
    parts = [f"{code}: {what}"]
    if location is not None:
        parts.append(location.render())
    parts.append(f"  do: {do}")
    made = TABLE[code].kind("\n".join(parts))
    made.code = code
    made.location = location
    return made


def check_text(refused: JitgradError) -> str:
    """Return the message of a check that raises an error of ours, which `execute` takes apart again."""
    lines = str(refused).splitlines()
    return f"{lines[0]}\n{lines[-1].strip().removeprefix('do: ')}"


def raise_at(location: Location | None, exception: BaseException, *, as_it_is: bool = False) -> NoReturn:
    """Raise an exception of the user's program so that its traceback ends in the user's line.

    Parameters
    ----------
    location : Location or None
        The line; the calls through which it was inlined become entries of the traceback as well.
    exception : BaseException
    as_it_is : bool
        It was raised before, by code that the user's line called: its cause and its traceback stay.
    """
    if not as_it_is:
        exception = exception.with_traceback(None)
        exception.__cause__, exception.__suppress_context__ = None, True
    if location is None:
        raise exception
    scope: dict[str, Any] = {"_exception": exception}
    text = "raise _exception"
    for place in location.chain():
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.stmt | ast.expr):
                node.lineno, node.end_lineno = max(place.line, 1), max(place.end_line, place.line, 1)
                node.col_offset, node.end_col_offset = place.column or 0, place.end_column or 0
        code = compile(tree, place.file, "exec")
        name = place.function.rsplit(".", 1)[-1] or "<module>"
        scope["_inner"] = types.FunctionType(code.replace(co_name=name), dict(scope))
        text = "_inner()"
    scope["_inner"]()
    raise AssertionError("the call above raises")


def raised_at(exception: BaseException) -> types.TracebackType | None:
    """Return the entry of `raise_at` in a traceback, behind which are the user's lines; None where it did not raise."""
    entry = exception.__traceback__
    while entry is not None and entry.tb_frame.f_code is not raise_at.__code__:
        entry = entry.tb_next
    return entry
