"""The order of steps: against all paths, and without a search where places tell."""

from __future__ import annotations

import random

import pytest

from jitgrad.backend import precedence
from jitgrad.backend.precedence import Precedence
from jitgrad.backend.steps import Step


def paths(start: Step, goal: Step) -> bool:
    """Whether a path leads from a step to another, by looking at all of them."""
    stack, seen = [start], {start}
    while stack:
        step = stack.pop()
        if step is goal:
            return True
        more = step.succ - seen
        seen |= more
        stack += more
    return False


@pytest.mark.parametrize("seed", range(20))
def test_random_edges(seed: int) -> None:
    source = random.Random(seed)
    end = Step("end", [])
    order = Precedence(end)
    steps: list[Step] = []
    for _ in range(40):
        steps.append(Step("op", []))
        order.add(steps[-1])
        for _ in range(3):
            before, after = source.choice(steps), source.choice([*steps, end])
            if before is not after and not paths(after, before):
                order.edge(before, after)
        assert all(s.place < after.place for s in steps for after in s.succ)
        assert all(s in after.pred for s in steps for after in s.succ)
        few, goal = source.choices(steps, k=2), source.choice(steps)
        assert order.reaches(few, goal) == any(paths(s, goal) for s in few)
    assert len({s.place for s in steps}) == len(steps)
    assert order.reaches([steps[0]], end)


def test_an_edge_against_the_order_makes_no_other_question_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precedence, "MAX_VISITS", 5)
    end = Step("end", [])
    order = Precedence(end)
    steps: list[Step] = []
    for k in range(200):
        steps.append(Step("op", []))
        order.add(steps[-1])
        for s in steps[-4:-1]:
            order.edge(steps[-1], s)
        if k == 10:
            order.add(reader := Step("op", []))
            order.edge(steps[2], reader)
    for step in steps[20:]:
        assert not order.reaches([steps[5]], step)
        assert not order.reaches([reader], step)
        assert order.reaches([step], steps[steps.index(step) - 1])


def test_a_cycle_is_no_order() -> None:
    order = Precedence(Step("end", []))
    one, other = Step("op", []), Step("op", [])
    order.add(one)
    order.add(other)
    order.edge(one, other)
    with pytest.raises(AssertionError, match="cycle"):
        order.edge(other, one)
