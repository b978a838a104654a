"""The form of a call: what a compiled body takes and gives, as plain data.

In: descriptions made by whoever knows the signature. Out: the same, hashable where its objects are, with the layout of
the words through which the native entry and the emitted body talk (`input_offsets`, `output_offsets`). This room knows
no LLVM, no graph and no trace; `entry` turns it into guards and boxing, the emitter reads the offsets, `pyrun` does the
same work in Python.

The emitted body is one LLVM function:

    define i32 @body(ptr %in, ptr %out, ptr %arena, ptr %err)

`%in`     words of 8 bytes, leaf after leaf: arguments first (depth first), then hidden inputs.
          Array: its data pointer; one word for each dimension that is None; for layout "strided" one word a dimension,
          the strides in elements. Number: one word holding the value (double bits; int64; 0 or 1; a float32's bits in
          the low 4 bytes; narrow integers extended to 64 bits by their own signedness; complex64 as two packed
          floats); complex128 and Python's complex take two words, real and imaginary part. After all leaves, one word
          for each `SharedSize`.
`%out`    words of 8 bytes, result leaf after result leaf.
          `ArrayResult`: the entry has put the data pointer of a fresh array there, the body writes through it.
          `LateArrayResult`: the body puts a data pointer (arena memory will do; the entry copies) and one word a
          dimension. `ViewResult`: pointer, one word a dimension, then one stride in elements a dimension.
          `NumberResult`: the body puts the value there, encoded as inputs are. `ChoiceResult`: first a word with the
          number of the choice, then the words of all choices. Others have no words.
`%arena`  scratch memory, 64-byte aligned, contents undefined; `arena_bytes` of it (0: the pointer is not to be used).
          With `arena_grows`, the word 16 bytes before it says how many bytes there are, and the body puts into the word
          8 bytes before it how many would have been enough: the next call has as many.
`%err`    `error_words` words for the operands of an error.
returns   0: all results written. k > 0: error site k - 1, operands in `%err`; `on_error(site, operands)` is called and
          raises (what it returns otherwise becomes the result of the call). If a Python exception is set then, by the
          handler of a signal, it is taken and handed over as a third argument. Negative: a Python exception is set.

It is entered and left with the GIL, which it may give up meanwhile (see `pacing`): what it reads and writes is kept
alive by the caller.

Where sizes are known only at run time (a dimension of an `ArrayResult` is None, or `arena_bytes` is None) the module
also defines

    define i32 @plan(ptr %in, ptr %sizes, ptr %err)

which runs first and stores into `%sizes` the bytes of the arena (only if `arena_bytes` is None), then each None
dimension of the `ArrayResult`s in order; it returns like the body.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

__all__ = [
    "MISFIT", "Argument", "ArrayLeaf", "ArrayResult", "CallForm", "CallResult", "ChoiceResult", "ChoiceTag",
    "ConstantResult", "DictResult", "DictTree", "Fact", "HiddenInput", "LateArrayResult", "Leaf", "ListResult",
    "ListTree", "NumberResult", "ObjectResult", "ObjectTree", "RepeatResult", "Result", "SameResult", "ScalarLeaf",
    "SharedSize", "StaticLeaf", "TupleResult", "TupleTree", "ViewResult", "result_leaves",
]  # fmt: skip

# What the TypeError says that a specialisation raises which was given other leaves.
MISFIT = "the leaves of a call are not of the form that was compiled"


# --- arguments


@dataclass(frozen=True, slots=True)
class SharedSize:
    """A run-time size or stride with a number: the same wherever it stands in a form, and at least `least`."""

    number: int
    least: int | None = 0


@dataclass(frozen=True, slots=True)
class ArrayLeaf:
    """An exact ndarray, aligned and in native byte order.

    Parameters
    ----------
    dtype : numpy.dtype
    shape : tuple of int, None or SharedSize
        None is a run-time size, passed to the body as a word.
    layout : "C", "F", "strided" or tuple of int or SharedSize
        Contiguous in C or Fortran order; strides passed as words; or these strides, in elements. A stride of a
        dimension of size 1 or of an empty array is not looked at for "C" and "F".
    writeable : bool
        The array must be writeable (the body stores to it).
    """

    dtype: np.dtype
    shape: tuple[int | SharedSize | None, ...]
    layout: Any = "C"
    writeable: bool = False

    @property
    def words(self) -> int:
        """Number of words in `%in`."""
        return 1 + self.shape.count(None) + (len(self.shape) if self.layout == "strided" else 0)


@dataclass(frozen=True, slots=True)
class ScalarLeaf:
    """A number; `kind` is "bool", "int", "float", "complex" (Python's) or "numpy" (a NumPy scalar of `dtype`)."""

    kind: str
    dtype: np.dtype

    @property
    def words(self) -> int:
        """Number of words in `%in`."""
        return 2 if self.dtype == np.complex128 else 1


@dataclass(frozen=True, slots=True, eq=False)
class StaticLeaf:
    """An object that decides the program; has no words.

    `rule` is "is" (the very object) or "equal" (the very object, or same type and ==; floats by their bits, tuples
    and slices by their items; complex numbers and frozensets only themselves).
    """

    value: Any
    rule: str = "is"


@dataclass(frozen=True, slots=True)
class TupleTree:
    """A tuple, or an instance of exactly the tuple subclass `cls`."""

    children: tuple[Any, ...]
    cls: type = tuple


@dataclass(frozen=True, slots=True)
class ListTree:
    """An exact list of this length."""

    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class DictTree:
    """An exact dict with these keys in this order."""

    keys: tuple[Any, ...]
    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ObjectTree:
    """An instance of exactly `cls` that has these attributes and no others.

    Attributes in slots of the class are found there, the others in the instance `__dict__`; `names` may come in any
    order and is the order of the leaves.
    """

    cls: type
    names: tuple[str, ...]
    children: tuple[Any, ...]


Leaf: TypeAlias = ArrayLeaf | ScalarLeaf
Argument: TypeAlias = ArrayLeaf | ScalarLeaf | StaticLeaf | TupleTree | ListTree | DictTree | ObjectTree


# --- what is read from outside the arguments


class Fact(Protocol):
    """Something about the outside that the code relies on; `trace.guards.Guard` has this form.

    Attributes
    ----------
    source : tuple
        ("global", dict, name), ("cell", cell object), ("object", object), then steps ("attr", name), ("item", key).
    rule : str
        "is": the very object. "equal": type and value. "type": exact type. "length": of a container. "code": a
        function of that code. "absent": nothing is there.
    expected : object
    """

    @property
    def source(self) -> tuple[Any, ...]: ...
    @property
    def rule(self) -> str: ...
    @property
    def expected(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class HiddenInput:
    """A leaf that is found from outside at every call, by a source as in `Fact`."""

    source: tuple[Any, ...]
    leaf: Leaf


# --- results


@dataclass(frozen=True, slots=True)
class ArrayResult:
    """A fresh array; a None dimension comes from `@plan`, a `SharedSize` from the arguments."""

    dtype: np.dtype
    shape: tuple[int | SharedSize | None, ...]
    order: str = "C"

    @property
    def words(self) -> int:
        """Number of words in `%out`."""
        return 1


@dataclass(frozen=True, slots=True)
class LateArrayResult:
    """A fresh array whose size only the body finds out; the body's memory is copied, in the order given.

    Parameters
    ----------
    owned : bool
        The memory is the entry's to free once it has been copied.
    """

    dtype: np.dtype
    rank: int
    order: str = "C"
    owned: bool = False

    @property
    def words(self) -> int:
        """Number of words in `%out`."""
        return 1 + self.rank


@dataclass(frozen=True, slots=True)
class ViewResult:
    """A view of the memory of input leaf number `leaf`, which becomes its base."""

    dtype: np.dtype
    rank: int
    leaf: int

    @property
    def words(self) -> int:
        """Number of words in `%out`."""
        return 1 + 2 * self.rank


@dataclass(frozen=True, slots=True)
class NumberResult:
    """A number, kinds as in `ScalarLeaf`."""

    kind: str
    dtype: np.dtype

    @property
    def words(self) -> int:
        """Number of words in `%out`."""
        return 2 if self.dtype == np.complex128 else 1


@dataclass(frozen=True, slots=True)
class SameResult:
    """The object of input leaf number `leaf` itself (an array or a number as it was passed)."""

    leaf: int
    words = 0


@dataclass(frozen=True, slots=True)
class RepeatResult:
    """What result leaf number `leaf` outside any choice, an `ArrayResult` or a `ChoiceTag`, has made."""

    leaf: int
    words = 0


@dataclass(frozen=True, slots=True, eq=False)
class ConstantResult:
    """An object known when compiling."""

    value: Any
    words = 0


@dataclass(frozen=True, slots=True)
class TupleResult:
    """A new tuple."""

    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ListResult:
    """A new list."""

    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class DictResult:
    """A new dict."""

    keys: tuple[Any, ...]
    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """A new instance: `cls.__new__(cls)`, then `object.__setattr__` of each attribute."""

    cls: type
    names: tuple[str, ...]
    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a Python callable returns for the children: NamedTuples, writes to be committed, anything unusual."""

    function: Any
    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ChoiceResult:
    """One of several results, chosen by the body; a fresh array of another choice is given up."""

    children: tuple[Any, ...]


Result: TypeAlias = (
    ArrayResult | LateArrayResult | ViewResult | NumberResult | SameResult | RepeatResult | ConstantResult
    | TupleResult | ListResult | DictResult | ObjectResult | CallResult | ChoiceResult
)  # fmt: skip


# --- the whole


@dataclass(frozen=True, slots=True, eq=False)
class CallForm:
    """All that the native entry has to know of one specialisation.

    Parameters
    ----------
    arguments : tuple of Argument
        Positional arguments, then the values of the keyword arguments.
    result : Result
    keywords : tuple of str
        Names of the last arguments, in the order of the call.
    facts : tuple of Fact
        Checked at every call through the native entry (`run` takes them for granted).
    hidden : tuple of HiddenInput
        Leaves after those of the arguments.
    disjoint : tuple of (int, int)
        Pairs of array leaves whose memory must not overlap.
    identical : tuple of (int, int)
        Pairs of leaves that must be one object.
    arena_bytes : int or None
        None: from `@plan`.
    arena_grows : bool
        Whether the body takes more of the arena than `arena_bytes`, if there is more: see `%arena`.
    error_words : int
        Operands that an error site may store.
    """

    arguments: tuple[Any, ...]
    result: Any
    keywords: tuple[str, ...] = ()
    facts: tuple[Any, ...] = ()
    hidden: tuple[HiddenInput, ...] = ()
    disjoint: tuple[tuple[int, int], ...] = ()
    identical: tuple[tuple[int, int], ...] = ()
    arena_bytes: int | None = 0
    arena_grows: bool = False
    error_words: int = 8

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Input leaves in order, hidden inputs last."""
        found: list[Leaf] = []
        for argument in self.arguments:
            found.extend(_input_leaves(argument))
        return (*found, *(h.leaf for h in self.hidden))

    @property
    def input_offsets(self) -> tuple[int, ...]:
        """First word of each input leaf; one more entry, the number of their words."""
        return _offsets([leaf.words for leaf in self.leaves])

    @property
    def sizes(self) -> int:
        """How many numbers of `SharedSize` there are; their words follow those of the leaves."""
        given = [(*leaf.shape, *leaf.layout) for leaf in self.leaves if isinstance(leaf, ArrayLeaf)]
        return max((d.number + 1 for numbers in given for d in numbers if isinstance(d, SharedSize)), default=0)

    @property
    def output_offsets(self) -> tuple[int, ...]:
        """First word of each result leaf, as `result_leaves` orders them; one more entry, the number of words."""
        return _offsets([leaf.words for leaf in result_leaves(self.result)])

    @property
    def plan_words(self) -> int:
        """Number of words that `@plan` stores; 0 if there is no such function."""
        arrays = [r for r in result_leaves(self.result) if isinstance(r, ArrayResult)]
        return (self.arena_bytes is None) + sum(r.shape.count(None) for r in arrays)


@dataclass(frozen=True, slots=True)
class ChoiceTag:
    """The leaf that says which choice was made; stands before the leaves of the choices."""

    count: int
    words = 1


def result_leaves(result: Any) -> list[Any]:
    """Return the leaves of a result in order: depth first; a choice begins with a `ChoiceTag`."""
    if isinstance(result, ChoiceResult):
        return [ChoiceTag(len(result.children)), *(x for c in result.children for x in result_leaves(c))]
    if isinstance(result, TupleResult | ListResult | DictResult | ObjectResult | CallResult):
        return [x for c in result.children for x in result_leaves(c)]
    return [result]


def _input_leaves(tree: Any) -> Iterator[Leaf]:
    if isinstance(tree, ArrayLeaf | ScalarLeaf):
        yield tree
    elif not isinstance(tree, StaticLeaf):
        for child in tree.children:
            yield from _input_leaves(child)


def _offsets(sizes: list[int]) -> tuple[int, ...]:
    found = [0]
    for size in sizes:
        found.append(found[-1] + size)
    return tuple(found)
