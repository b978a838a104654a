"""Loops: run-time ones become `for` and `while` ops, loops over known items unroll.

What a loop carries is found by tracing its body: a header state is built from the state at entry, with a block argument
for every array that can be reached and every number that the loop stores; the body is traced; where the state at the
back edge does not fit the header, the header is widened and the body traced again, until it fits. Three forms:

    counted      `for` over a range or rows, with no way out but exhaustion
    tested       `while` whose condition is the head's test and whose only way out is that test
    general      `while` that carries a code: 0 goes on, k has left through exit k
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from jitgrad.errors import UnsupportedError
from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.types import INT64
from jitgrad.trace.abstract import IterRange, IterRows, IterSequence, ListRef, Maybe, OneOf, Poison, Scalar
from jitgrad.trace.alternatives import chosen, narrowed
from jitgrad.trace.arrays import scalar_value
from jitgrad.trace.extents import surely
from jitgrad.trace.fitting import PEELS
from jitgrad.trace.frame import Frame, Outcome, State
from jitgrad.trace.header import Header
from jitgrad.trace.inspection import undefined
from jitgrad.trace.joining import Edge
from jitgrad.trace.loop_signals import NeedPeel, NeedUnroll, NeverRepeats, NotThisForm
from jitgrad.trace.merge import Merger
from jitgrad.trace.obligations import Restart
from jitgrad.trace.places import settle
from jitgrad.trace.pools import bring_home, stay_in_pools
from jitgrad.trace.regions import BlockNode, Continue, Goto, LoopNode
from jitgrad.trace.storage import is_same, keeps_length
from jitgrad.trace.watching import one_by_one, up_to_date

__all__ = ["item_of", "next_of", "run_loop"]

_UNROLL_LIMIT = 10_000
# Trips of an unrolled loop that data may end: each nests one branch deeper.
_DECIDED_LIMIT = 100
_DECIDED_BY_SIZES = 3


# --- iterators


def next_of(ev: Any, iterator: Any, *, ends: bool) -> tuple[Any, Callable[[], tuple[Any, Any]]]:
    """Return whether an iterator has a next item (known, or a bool value), and how to take it: perhaps the last."""
    one_by_one(ev, iterator, ends=ends)
    if isinstance(iterator, IterSequence):
        iterator = up_to_date(ev, iterator)
        at = iterator.position
        more: Any = at < len(iterator.items)
        return more, lambda: (replace(iterator, position=at + 1), iterator.items[at])
    if not isinstance(iterator, IterRange | IterRows):
        raise ev.error("JG203", what=f"iterating over {type(iterator).__name__}")
    position, count = iterator.position, iterator.count
    if isinstance(position, int) and isinstance(count, int):
        more = position < count
    else:
        more = ev.g.less(scalar_value(ev, position, np.int64), scalar_value(ev, count, np.int64))

    def advance() -> tuple[Any, Any]:
        if isinstance(position, int):
            after: Any = position + 1
        else:
            after = Scalar(ev.g.add(position.value, ev.constant(1, np.int64)), "int")
        return replace(iterator, position=after), item_of(ev, iterator, position)

    return more, advance


def item_of(ev: Any, iterator: Any, position: Any) -> Any:
    """Return the item of a range or of rows at a position."""
    if isinstance(iterator, IterRows):
        return iterator.make(ev, position)
    start, step, count = iterator.start, iterator.step, iterator.count
    if all(isinstance(x, int) for x in (start, step, position)):
        return start + position * step
    g = ev.g
    value = scalar_value(ev, position, np.int64)
    if step != 1 or not isinstance(step, int):
        value = g.multiply(value, scalar_value(ev, step, np.int64))
    if start != 0 or not isinstance(start, int):
        value = g.add(value, scalar_value(ev, start, np.int64))
    low: int | None = None
    high: int | None = None
    if isinstance(step, int) and isinstance(start, int):
        if isinstance(count, int):
            ends = (start, start + max(count - 1, 0) * step)
            low, high = min(ends), max(ends)
        elif step > 0:
            low, high = start, 2**63 - 2
        else:
            low, high = -(2**63) + 2, start
    if (step != 1 or start != 0) and isinstance(position, Scalar) and position.value in ev.counters:
        ev.counters.setdefault(value, ev.counters[position.value])
    return Scalar(value, "int", low, high)


# --- running


def run_loop(ev: Any, node: LoopNode, frame: Frame) -> Outcome:
    """Trace a loop from its head and go on behind its exits."""
    if frame.stack and isinstance(frame.stack[-1], OneOf) and _is_for(node):
        # Data decide what is iterated, which the arms know.
        again = partial(run_loop, ev, node, frame)
        return ev.branch(frame.stack[-1].flags[0], ("over", frame.path, node.header), frame, again, again)
    key = ("loop", frame.path, frame.tree.code.co_name, node.header)
    outcome = _loop(ev, node, frame, key, 0)
    for target, arm in node.exits.items():
        if isinstance(arm, Goto) and arm.target == target:
            continue
        outcome = ev.dispatch(outcome, target, frame, partial(ev.walk, arm, frame))
    return outcome


def _is_for(node: LoopNode) -> bool:
    head = node.body
    return isinstance(head, BlockNode) and head.block.end == "for" and not head.block.instrs


def _loop(ev: Any, node: LoopNode, frame: Frame, key: Any, peeled: int) -> Outcome:
    if key not in ev.unrolled and not (_is_for(node) and isinstance(frame.stack[-1], IterSequence)):
        bring_home(ev, key, frame)
        settle(ev)
    start = ev.state(frame)
    live = frame.tree.flow.live_in[node.header]
    start.locals = {k: v for k, v in start.locals.items() if k in live}
    is_for = _is_for(node)
    unroll = key in ev.unrolled or (is_for and isinstance(start.stack[-1], IterSequence))
    block, mark, location, depth = ev.g.block, len(ev.g.block.ops), ev.location, ev.depth
    frames, place = list(ev.frames), frame.place
    if key in ev.unrolled and is_for and isinstance(start.stack[-1], IterRange | IterRows):
        # Only a known number of trips can be written out; a count that the call gives becomes known.
        _know_trips(ev, key, start, "the number of trips of a loop that is unrolled")
    if not unroll:
        try:
            return _symbolic(ev, node, frame, key, start, peeled)
        except NeedUnroll as need:
            if need.key != key:
                raise
            ev.unrolled[key] = ev.error("JG228", why=need.why)
            if is_for and isinstance(start.stack[-1], IterRange | IterRows):
                # Only a known number of trips can be written out; a count that the call gives becomes known.
                _reset(ev, block, mark, location, depth, frames)
                _know_trips(ev, key, start, need.why)
        except NeverRepeats:
            pass
        except NeedPeel as need:
            if peeled >= PEELS:
                where = frame.tree.flow.blocks[node.header].location
                raise ev.error("JG243", name=need.name, why=need.why, where=where) from None
            _reset(ev, block, mark, location, depth, frames)
            return _peel(ev, node, frame, key, start, peeled)
        _reset(ev, block, mark, location, depth, frames)
    frame.place = place
    ev.enter(frame, start)
    return _unrolled(ev, node, frame, key)


def _know_trips(ev: Any, key: Any, start: State, why: str) -> None:
    """Make the number of trips of a loop known that is unrolled."""
    try:
        ev.note_static(start.stack[-1].count, why)
    except UnsupportedError as refused:
        raise _instead(ev, key, ev.unrolled[key] or refused) from None


def _instead(ev: Any, key: Any, refused: Exception) -> Exception:
    """Return what is raised where a loop cannot be unrolled: another trace, in which it indexes lists at run time."""
    tagged = ev.obligations.tagged
    if (("index",), key) not in tagged or (("listed",), key) in tagged:
        return refused
    ev.unrolled.pop(key, None)
    return Restart({(("listed",), key)}, "a loop indexes lists at run time: it cannot be unrolled")


def _reset(ev: Any, block: Block, mark: int, location: Any, depth: int, frames: list[Frame]) -> None:
    """Forget what an abandoned attempt emitted."""
    ev.g.block = block
    del block.ops[mark:]
    ev.forget(block)
    ev.location, ev.depth = location, depth
    ev.frames[:] = frames


def _runs(iterator: Any) -> bool:
    return isinstance(iterator.position, int) and isinstance(iterator.count, int) and iterator.position < iterator.count


def _peel(ev: Any, node: LoopNode, frame: Frame, key: Any, start: State, peeled: int) -> Outcome:
    ev.enter(frame, start)
    outcome = ev.walk(node.body, frame)
    again = Continue(node.header)
    return ev.dispatch(outcome, again, frame, lambda: _loop(ev, node, frame, key, peeled + 1))


def _unrolled(ev: Any, node: LoopNode, frame: Frame, key: Any) -> Outcome:
    again = Continue(node.header)

    def trip() -> Outcome:
        iterator = frame.stack[-1] if _is_for(node) else None
        if isinstance(iterator, IterRows):
            up_to_date(ev, iterator)
        made: Outcome = ev.walk(node.body, frame)
        rest = not isinstance(iterator, IterSequence) or iterator.position < len(iterator.items)
        if iterator is not None and rest and any(t != again for t in made.states):
            one_by_one(ev, iterator, ends=True)
        return made

    outcome = trip()
    trips = decided = 1
    # Where sizes of arguments are not known, it is likely they that decide: with known ones there are few trips.
    most = _DECIDED_LIMIT if not ev.least_sizes else _DECIDED_BY_SIZES
    while again in outcome.states:
        trips += 1
        decided += len(outcome.states) > 1
        if trips > _UNROLL_LIMIT or decided > most:
            ev.at(frame, frame.tree.flow.blocks[node.header].location)
            raise _instead(ev, key, ev.error("JG229", limit=_UNROLL_LIMIT if trips > _UNROLL_LIMIT else most))
        outcome = ev.dispatch(outcome, again, frame, trip)
    return outcome


def _symbolic(ev: Any, node: LoopNode, frame: Frame, key: Any, start: State, peeled: int) -> Outcome:
    flow = frame.tree.flow
    head = node.body
    start = start.copy()  # in which the header may take lists apart
    header = Header(ev, key, start, flow.stored[node.header], flow.blocks[node.header].location)
    header.wanted = flow.live_in[node.header]
    header.may_peel = peeled < PEELS
    forms = [_general]
    if isinstance(head, BlockNode):
        if head.block.end == "for" and not head.block.instrs and isinstance(head.arms[1], Goto):
            forms.insert(0, _counted)
        elif head.block.end == "branch" and any(_leaves(a) for a in head.arms):
            forms.insert(0, _tested)
    block, mark, location, depth = ev.g.block, len(ev.g.block.ops), ev.location, ev.depth
    frames, place = list(ev.frames), frame.place
    for form in forms:
        for _ in range(25):
            frame.place = place
            header.take_apart()
            ev.enter(frame, start)
            try:
                made = form(ev, node, frame, key, header)
            except NotThisForm:
                _reset(ev, block, mark, location, depth, frames)
                break
            if made is not None:
                return made
            _reset(ev, block, mark, location, depth, frames)
        else:
            # Names that are exchanged for views of each other: trip by trip each is known.
            raise NeedUnroll(key, "the number of trips of a loop in which variables are other objects in each trip")
    raise ev.error("JG900", what="no form fits a loop")


def _leaves(arm: Any) -> bool:
    return isinstance(arm, Goto) and not isinstance(arm.target, Continue)


def _body(ev: Any, header: Header, block: Block, frame: Frame, run: Callable[[], Outcome]) -> tuple[State, Outcome]:
    """Build the header on a body block's arguments and trace the body."""
    header.body = block
    ev.enter(frame, header.entry)  # what the slots hold at entry is read from there, not from a test traced before
    state = header.build(block.add_arg, block, True)
    return state, ev.arm(block, frame, state.copy(), run)


def _yields(ev: Any, header: Header, block: Block, frame: Frame, back: State) -> list[Value]:
    """Return the next values of the header's slots, computed at the end of the body."""
    with ev.inside(block):
        ev.enter(frame, back)
        return [get(back) for get in header.getters]


def _finish(op: Op, header: Header, skip: int = 0) -> State:
    """Return the header state with a loop op's results in its slots."""
    results = iter(op.results[skip:])
    return header.build(lambda t, name: next(results), header.ev.g.block)


def _unconverted(ev: Any, header: Header, trips: Value, state: State) -> None:
    """Behind a loop of perhaps no trip, let numbers that change their types in the first be what they were if so."""
    ran = ev.g.greater(trips, ev.constant(0, np.int64))
    for path, name in header.converted.items():
        if len(path) == 2 and path[0] == "L":
            state.locals[name] = chosen(ev, ran, state.locals[name], header.entry.locals[name])
            continue
        message = f"a loop that changes the type of {name} ran zero times"
        ev.note_refusal(message, trips)
        ev.check(ran, NotImplementedError, message)


def _counted(ev: Any, node: LoopNode, frame: Frame, key: Any, header: Header) -> Outcome | None:
    head = node.body
    iterator = frame.stack[-1]
    one_by_one(ev, iterator)
    if not isinstance(iterator, IterRange | IterRows):
        raise NotThisForm
    first = scalar_value(ev, iterator.position, np.int64)
    total = scalar_value(ev, iterator.count, np.int64)
    trips = total if iterator.position == 0 and isinstance(iterator.position, int) else ev.g.subtract(total, first)
    block = Block()
    index = block.add_arg(INT64, "k")
    ev.counters[index] = key
    ev.trips[index] = ev.spans.get(trips, trips)
    at = header.entry.stack
    at[-1] = replace(iterator, position=0)

    def run() -> Outcome:
        position: Any = Scalar(index, "int", 0, None)
        if not (isinstance(iterator.position, int) and iterator.position == 0):
            position = Scalar(ev.g.add(index, first), "int")
            ev.counters[position.value] = key
        frame.stack[-1] = iterator
        frame.push(item_of(ev, iterator, position))
        outcome: Outcome = ev.walk(head.arms[0], frame)
        for target, join in head.joins:
            outcome = ev.dispatch(outcome, target, frame, partial(ev.walk, join, frame))
        if any(t != Continue(node.header) for t in outcome.states):
            raise NotThisForm
        return outcome

    at[-1] = iterator
    start, outcome = _body(ev, header, block, frame, run)
    if not outcome.states:
        raise NotThisForm
    back = outcome.states[Continue(node.header)]
    stay_in_pools(ev, key, frame, block, start, back)
    if not header.fits(back):
        return None
    _require_lengths(ev, iterator, header.entry, start, back)
    block.yields = _yields(ev, header, block, frame, back)
    op = ev.g.emit("for", [trips, *header.inits], {}, [block])
    if isinstance(iterator.count, int) and isinstance(iterator.position, int):
        ev.counted_loops[op] = key
    runs = _runs(iterator) or surely(ev, 1, (1, trips))
    state = _finish(op, header)
    if header.converted and not runs:
        _unconverted(ev, header, trips, state)
    if runs:
        state.locals = {k: _after_a_trip(ev, header, k, v) for k, v in state.locals.items()}
        state.heap.update({c.which: at for c, at in header.which_after.items() if c.which is not None})
    ev.enter(frame, state)
    frame.pop()
    return ev._arrive(head.arms[1].target, frame)


def _require_lengths(ev: Any, iterator: Any, entry: State, start: State, back: State) -> None:
    """Refuse a trip after which a list that the loop goes over may have another length.

    Where a generator raises, the caller's arrays would hold what trips before that store.
    """
    if any(back.heap.get(c) is not start.heap.get(c) for c in ev.visible):
        one_by_one(ev, iterator, ends=True)
    for what, held, *_ in iterator.watched if isinstance(iterator, IterRows) else ():
        before = start.heap.get(what.cell, held)
        unchanged = is_same(what.of(entry.heap.get(what.cell, held)), what.of(held))
        if not unchanged or not is_same(what.of(back.heap.get(what.cell, before)), what.of(before)):
            raise ev.error("JG247")
    for over in iterator.over if isinstance(iterator, IterRows) else ():
        before = start.heap.get(over.cell) if isinstance(over, ListRef) else None
        now = None if before is None else back.heap.get(over.cell, before)
        if isinstance(before, Value) and not (isinstance(now, Value) and keeps_length(now, before)):
            raise ev.error("JG247")


def _after_a_trip(ev: Any, header: Header, name: str, v: Any) -> Any:
    """Return a variable behind a loop that surely ran: it is bound, and has the kind that a trip gives it."""
    if isinstance(v, Maybe):
        return v.value
    after = header.after.get(("L", name))
    return v if after is None else narrowed(ev, v, after)


def _tested(ev: Any, node: LoopNode, frame: Frame, key: Any, header: Header) -> Outcome | None:
    head = node.body
    leaving = next(i for i, a in enumerate(head.arms) if _leaves(a))
    again = Continue(node.header)
    test = Block()
    state = header.build(test.add_arg, test)

    def stays() -> Any:
        """Evaluate the head's test: whether the loop goes on."""
        ev.run_instructions(head.block, frame)
        ev.at(frame, head.block.location)
        flag = ev.condition(head.block, frame)
        if isinstance(flag, bool):
            raise NotThisForm
        return flag if leaving == 1 else ev.g.logical_not(flag)

    def run_test() -> Outcome:
        before = dict(ev.heap)
        test.yields = [stays()]
        if any(ev.heap.get(c) is not v for c, v in before.items()):
            raise NotThisForm
        return Outcome({again: ev.state(frame)})

    if not ev.arm(test, frame, state.copy(), run_test).states:
        raise NotThisForm
    block = Block()

    def run() -> Outcome:
        stays()
        outcome: Outcome = ev.walk(head.arms[1 - leaving], frame)
        for target, join in head.joins:
            outcome = ev.dispatch(outcome, target, frame, partial(ev.walk, join, frame))
        if any(t != again for t in outcome.states):
            raise NotThisForm
        return outcome

    start, outcome = _body(ev, header, block, frame, run)
    if not outcome.states:
        raise NotThisForm
    back = outcome.states[again]
    stay_in_pools(ev, key, frame, block, start, back)
    if not header.fits(back):
        return None
    if header.converted:
        raise NotThisForm
    block.yields = _yields(ev, header, block, frame, back)
    op = ev.g.emit("while", header.inits, {}, [test, block])
    ev.enter(frame, _finish(op, header))
    ev.run_instructions(head.block, frame)
    ev.condition(head.block, frame)
    return ev._arrive(head.arms[leaving].target, frame)


def _general(ev: Any, node: LoopNode, frame: Frame, key: Any, header: Header) -> Outcome | None:
    again = Continue(node.header)
    block = Block()
    block.add_arg(INT64, "code")
    start, outcome = _body(ev, header, block, frame, lambda: ev.walk(node.body, frame))
    if again not in outcome.states:
        raise NeverRepeats
    back = outcome.states[again]
    stay_in_pools(ev, key, frame, block, start, back)
    if not header.fits(back):
        return None
    if header.converted and header.may_peel:
        name = next(iter(header.converted.values()))
        raise NeedPeel(name, "it is another number after a trip")
    if _is_for(node):
        one_by_one(ev, start.stack[-1], ends=True)
        _require_lengths(ev, start.stack[-1], header.entry, start, back)
    exits = [t for t in outcome.states if t != again]
    order = [again, *exits]
    made = {*block.args, *(r for op in block.ops for r in op.results)}
    merger = Merger(ev, [Edge(block, start, made, ev.location, tuple(outcome.states.values()))], key, ev.obligations)
    base = dict(start.heap)
    states = {t: merger.merge({0: outcome.states[t]}, base) for t in exits}
    with ev.inside(block):
        code = ev.selector_of(outcome, order)
    following = _yields(ev, header, block, frame, back)
    # What an exit finds where the next iteration would find it needs no place of its own. If that is in the caller's
    # memory and elsewhere too, then in the caller's: what is stored into it later is seen there.
    places = {v: 1 + i for i, v in reversed(list(enumerate(following)))}
    places |= {following[i]: 1 + i for i in header.callers}
    slots = [s for s in merger.slots if s.given[0] not in places]
    extra = [s.given[0] for s in slots]
    inits = [ev.constant(0, np.int64), *header.inits, *(undefined(ev, v.type) for v in extra)]
    for v in extra:
        block.add_arg(v.type)
    block.yields = [code, *following, *extra]
    test = Block([v.type for v in block.args])
    with ev.inside(test):
        test.yields = [ev.g.equal(test.args[0], ev.constant(0, np.int64))]
    op = ev.g.emit("while", inits, {}, [test, block])
    places |= {v: 1 + len(following) + i for i, v in enumerate(extra)}
    for slot in merger.slots:
        place = places[slot.given[0]]
        slot.value.owner, slot.value.index = op, place
        op.results[place] = slot.value
    ev.g.block.ops.extend(merger.behind.ops)
    if header.converted:
        _refuse_early_exit(ev, header, states)
    if not exits:
        return Outcome({})
    selector = ev.g.subtract(op.results[0], ev.constant(1, np.int64)) if len(exits) > 1 else None
    return Outcome(states, selector)


def _refuse_early_exit(ev: Any, header: Header, states: dict[Any, State]) -> None:
    """Where a loop that changes a variable's type can be left before that, it has no single type behind it."""
    for path, name in header.converted.items():
        for state in states.values():
            if path[0] == "L" and name in state.locals:
                state.locals[name] = Poison("its type changes in the first trip of a loop that may be left before")
