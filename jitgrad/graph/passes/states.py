"""States of a loop that are recorded twice are recorded once.

The way back through `h = f(h)` may need the state that a step was given and the one it made, each saved in an array of
one row a step. But for one row at either end the two arrays are one: it gets a row more, for the state in the end.

In: a graph in its final form. Out: the same graph, which computes the same bits. Only where the rows of both arrays are
stored in each iteration, and read one at a time behind the loop.
"""

from __future__ import annotations

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, index_of, load, store
from jitgrad.graph.ops.shape import split_shape
from jitgrad.graph.passes.accesses import Loads, carried_array, loads_of
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.types import INT64, ArrayType, Dim

__all__ = ["record_states_once"]


def record_states_once(graph: Graph) -> bool:
    """Let one record of a loop's states serve for those before and those after each iteration."""
    blocks = blocks_within(graph)
    reads: Loads | None = None
    changed = False
    for block in blocks:
        for loop in [op for op in block.ops if op.name == "for"]:
            records = [k for k in range(len(loop.results)) if _is_record(loop, k)]
            if len(records) < 2:
                continue
            if reads is None:
                reads = loads_of(blocks)
            joined: set[int] = set()
            for before, after, state in _pairs(loop, records):
                mine, others = reads.get(loop.results[before]), reads.get(loop.results[after])
                # What is known of the reads of a record ends when it is joined.
                if mine and others and _by_rows(*mine, *others) and joined.isdisjoint((before, after)):
                    joined |= {before, after}
                    _join(block, loop, before, state, mine, others)
                    changed = True
    return changed


def _is_record(loop: Op, k: int) -> bool:
    """Whether all that a loop does to an array is to store a row in each iteration, of as many as there are rows."""
    type = loop.results[k].type
    if not isinstance(type, ArrayType) or not type.shape:
        return False
    (body,), first = loop.regions, loop.operands[k + 1].op
    if (
        first is None
        or first.name != "undef"
        or not _is_count(loop.operands[0], type.shape[0])
        or body.yields[k].op is None
    ):
        return False
    carried = carried_array(loop, k)
    if carried is None or carried.loads or len(carried.stores) != 1 or len(carried.stores[0].path) != 1:
        return False
    op = carried.stores[0].op
    row, *rest = index_of(op)
    whole = all(isinstance(e, Span) and (e.start, e.step) == (0, 1) for e in rest)
    return (
        whole and row == Pick(body.args[0]) and op.operands[1].shape == type.shape[1:] and not op.attrs.get("visible")
    )


def _is_count(trips: Value, size: Dim) -> bool:
    """Whether a loop runs as often as an array has rows."""
    op = trips.op
    return trips is size or (op is not None and op.name == "constant" and int(op.attrs["value"]) == size)


def _pairs(loop: Op, records: list[int]) -> list[tuple[int, int, int]]:
    """Return pairs of records, of a state as iterations find it and as they leave it, and the number of the state."""
    (body,) = loop.regions
    rows = {k: body.yields[k].op.operands[1] for k in records if body.yields[k].op is not None}  # type: ignore[union-attr]
    found = []
    for before, row in rows.items():
        if row.owner is not body or row is body.args[0]:
            continue
        state = row.index - 1
        after = next((k for k, other in rows.items() if k != before and other is body.yields[state]), None)
        if after is not None and loop.results[after].type == loop.results[before].type:
            found.append((before, after, state))
    return found


def _by_rows(*reads: tuple[Block, Op]) -> bool:
    return all(isinstance(index_of(op)[0], Pick) for _, op in reads)


def _join(
    block: Block, loop: Op, before: int, state: int, mine: list[tuple[Block, Op]], others: list[tuple[Block, Op]]
) -> None:
    """Read the record of what iterations made from that of what they were given."""
    (body,), record = loop.regions, loop.results[before]
    assert isinstance(record.type, ArrayType)
    rows, *rest = record.type.shape
    g = Builder(Block(), loop.location)
    longer: Dim = rows + 1 if isinstance(rows, int) else g.add(rows, g.constant(1, INT64.dtype))
    attr, dims = split_shape((longer, *rest))
    first = g.emit("undef", dims, {"shape": attr, "dtype": record.type.dtype}).result
    at = block.ops.index(loop)
    block.ops[at:at] = g.block.ops
    loop.operands[before + 1] = first
    for version in (body.args[before + 1], body.yields[before], record):
        version.type = first.type

    g = Builder(Block(), loop.location)
    whole: list[Entry] = [Span(0, 1, d) for d in rest]
    full = store(g, record, loop.results[state], [Pick(rows), *whole])
    at = block.ops.index(loop) + 1
    block.ops[at:at] = g.block.ops
    for _, op in mine:
        op.operands[0] = full
    replaced = Replacements()
    for home, op in others:
        g = Builder(Block(), op.location)
        row, *part = index_of(op)
        assert isinstance(row, Pick) and row.at is not None
        following: Dim = row.at + 1 if isinstance(row.at, int) else g.add(row.at, g.constant(1, INT64.dtype))
        replaced.add(op.result, load(g, full, [Pick(following), *part]))
        at = home.ops.index(op)
        home.ops[at : at + 1] = g.block.ops
    for home in {home for home, _ in others}:
        for inner in blocks_within(home):
            replaced.in_block(inner)
            for op in inner.ops:
                replaced.in_op(op)
            inner.yields = replaced.in_values(inner.yields)
