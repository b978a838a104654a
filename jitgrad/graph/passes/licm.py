"""Loop-invariant code motion: what every iteration would compute alike is computed once, before the loop.

In: a graph. Out: the same graph, in which pure ops whose operands come from outside a loop stand before it, out of as
many loops as they are invariant in, and out of the arms of ifs on the way. Three classes decide:

cheap      constants, scalar arithmetic and functions, views and fills (`reshape`, `transpose`, `broadcast`, `iota`): a
           few nanoseconds even if the loop then runs no iteration, and they can be computed for any operands. They
           always move.
costly     anything that touches each element of an array, products, inner loops. They move where they would have run in
           any case: out of a loop that is known to run at least once, never out of an arm. Otherwise a loop that runs
           zero times (a search that succeeds at once, the rare `while` inside a hot `for`) would pay for work that the
           program never asked for, at each entry.
guarded    reads (`load`, `gather`, `list_get`), stores and the like, whose index may be in range only because a check
           before them passed. They move as costly ops do, if besides nothing before them in the loop can raise, or if
           their index is plainly in range.

Ops that may raise, or do input and output, never move, nor do ops that make storage of their own. The condition of a
`while` runs at least once, the body perhaps not.
"""

from __future__ import annotations

from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Pick
from jitgrad.graph.passes.rewriting import KEPT_EFFECTS, attr_dims, dims_of
from jitgrad.graph.types import ArrayType

__all__ = ["licm"]

_VIEWS = frozenset({"constant", "reshape", "transpose", "broadcast", "iota"})
_STAYS = frozenset({"undef", "list_empty", "list_zeros", "list_push", "list_pop", "list_set", "list_addto"})
_GUARDED = frozenset(
    {"load", "store", "addto", "gather", "scatter", "scatter_add", "list_get", "list_to_array", "list_from_array"}
)


class _Frame:
    """A block on the way.

    Attributes
    ----------
    owner : Op or None
        The op that the block is a region of.
    runs : bool
        Whether the block is run at least once each time its op is reached.
    acts : bool
        Whether an op that may raise was met in this block.
    outside : int
        Depth of the innermost block, other than this one, that defines something used here; -1 for none.
    pinned : bool
        Whether something within must stay where it is.
    """

    __slots__ = ("acts", "at", "block", "ops", "outside", "owner", "pinned", "runs")

    def __init__(self, block: Block, owner: Op | None) -> None:
        self.block = block
        self.ops = block.ops
        self.owner = owner
        self.at = 0
        self.runs = _runs(block, owner)
        self.acts = False
        self.outside = -1
        self.pinned = False


def _runs(block: Block, owner: Op | None) -> bool:
    if owner is None or owner.name == "while":
        return owner is None or block is owner.regions[0]
    count = owner.operands[0].op if owner.name == "for" else None
    return count is not None and count.name == "constant" and bool(count.attrs["value"] >= 1)


def licm(graph: Graph) -> bool:
    """Move invariant ops out of loops; linear in the number of ops times the depth they leave."""
    return _Motion().run(graph)


class _Motion:
    def __init__(self) -> None:
        self.depth: dict[Value, int] = {}
        self.frames: list[_Frame] = []
        self.changed = False

    def run(self, graph: Graph) -> bool:
        self.enter(graph, None)
        # Regions still to be walked of the ops that are open, innermost last.
        waiting: list[list[Block]] = []
        while self.frames:
            frame = self.frames[-1]
            if frame.at < len(frame.ops):
                op = frame.ops[frame.at]
                frame.at += 1
                if op.regions:
                    waiting.append(list(reversed(op.regions)))
                    self.inner = _Frame(frame.block, op)
                    self.enter(waiting[-1].pop(), op)
                else:
                    self.place(op, self.level(op), None)
                continue
            level = self.leave()
            if frame.owner is None:
                break
            del level
        return self.changed

    def enter(self, block: Block, owner: Op | None) -> None:
        raise NotImplementedError

    def leave(self) -> int:
        raise NotImplementedError

    def level(self, op: Op) -> int:
        raise NotImplementedError

    def place(self, op: Op, level: int, region: None) -> None:
        raise NotImplementedError
