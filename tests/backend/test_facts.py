"""Facts about the outside and hidden inputs, as the native entry checks and reads them."""

from __future__ import annotations

import gc
import types
from typing import Any

import numpy as np
import pytest

from jitgrad.backend.form import (
    ArrayLeaf,
    CallForm,
    HiddenInput,
    ListTree,
)
from tests.backend.calls import (
    F8,
    FLOAT,
    FLOAT_RESULT,
    INT,
    TWICE,
    Fact,
    Target,
    gather,
    made,
)

pytestmark = pytest.mark.usefixtures("entries")


def watch(fact: Fact) -> Target:
    return Target(made(CallForm((FLOAT,), FLOAT_RESULT, facts=(fact,)), TWICE))


def holds(target: Target) -> bool:
    return bool(target(1.0) == 2.0)


def test_facts() -> None:
    space: dict[str, Any] = {}

    def helper() -> None: ...

    def other() -> None: ...

    space.update(f=helper, n=1000, text="a", module=types.SimpleNamespace(size=3, items=[1, 2]), box={"k": 1})
    cases: list[tuple[Fact, str, Any, Any]] = [
        (Fact(("global", space, "f"), "is", helper), "f", other, helper),
        (Fact(("global", space, "n"), "equal", 1000), "n", 1001, int("1000")),
        (Fact(("global", space, "n"), "equal", 1000), "n", 1000.0, int("1000")),
        (Fact(("global", space, "n"), "type", int), "n", 1.0, 7),
        (Fact(("global", space, "text"), "length", 1), "text", "ab", "c"),
        (Fact(("global", space, "f"), "code", helper.__code__), "f", other, helper),
        (Fact(("global", space, "f", ("attr", "__code__")), "is", helper.__code__), "f", other, helper),
    ]
    for fact, name, wrong, right in cases:
        target = watch(fact)
        for value, expected in ((right, True), (wrong, False), (right, True)):
            space[name] = value
            assert holds(target) == expected, fact
        del space[name]
        assert not holds(target)
        space[name] = right
        assert holds(target)


def test_facts_along_a_path() -> None:
    config = types.SimpleNamespace(layers=[types.SimpleNamespace(size=3)], table={"k": "v"})
    space = {"config": config}
    size = watch(Fact(("global", space, "config", ("attr", "layers"), ("item", 0), ("attr", "size")), "equal", 3))
    item = watch(Fact(("object", config, ("attr", "table"), ("item", "k")), "is", "v"))
    assert holds(size) and holds(item)
    config.layers[0].size = 4
    assert not holds(size)
    config.layers.clear()
    assert not holds(size)
    del config.layers
    assert not holds(size)
    config.table.clear()
    assert not holds(item)


def test_absent_and_cells() -> None:
    space: dict[str, Any] = {}
    absent = watch(Fact(("global", space, "len"), "absent"))
    assert holds(absent)
    space["len"] = 1
    assert not holds(absent)
    thing = types.SimpleNamespace()
    no_attribute = watch(Fact(("object", thing, ("attr", "x")), "absent"))
    assert holds(no_attribute)
    thing.x = 1
    assert not holds(no_attribute)
    cell = types.CellType(5)
    inside = watch(Fact(("cell", cell), "equal", 5))
    assert holds(inside)
    cell.cell_contents = 6
    assert not holds(inside)
    del cell.cell_contents
    assert not holds(inside)


def test_length_of_what_has_none_is_declined() -> None:
    space = {"n": 5}
    assert not holds(watch(Fact(("global", space, "n"), "length", 5)))


def test_hidden_inputs_are_read_at_every_call() -> None:
    space: dict[str, Any] = {"rate": 0.5, "w": np.array([3.0])}
    hidden = (
        HiddenInput(("global", space, "rate"), FLOAT),
        HiddenInput(("global", space, "w"), ArrayLeaf(F8, (1,))),
    )
    form = CallForm((FLOAT,), FLOAT_RESULT, hidden=hidden)
    specialisation = made(form, gather(3, [0, 1, 2], ["double", "double", "array"]))
    target = Target(specialisation)
    assert target(1.0) == 4.5
    space["rate"] = 1.5
    space["w"] = np.array([4.0])
    assert target(1.0) == 6.5
    assert specialisation.run((1.0, 2.0, np.array([5.0]))) == 8.0
    space["rate"] = 1
    assert target(1.0)[0] == "slow"
    del space["rate"]
    assert target(1.0)[0] == "slow"


def test_what_is_read_from_outside_is_held() -> None:
    """A property, run between reading an array and using it, drops the only other reference to it."""
    space: dict[str, Any] = {"w": np.full(1000, 7.0)}

    class Sly:
        @property
        def gone(self) -> float:
            space["w"] = None
            gc.collect()
            [np.zeros(1000) for _ in range(10)]
            return 1.0

    hidden = (
        HiddenInput(("global", space, "w"), ArrayLeaf(F8, (1000,))),
        HiddenInput(("object", Sly(), ("attr", "gone")), FLOAT),
    )
    form = CallForm((FLOAT,), FLOAT_RESULT, hidden=hidden)
    target = Target(made(form, gather(3, [0, 1, 2], ["double", "array", "double"])))
    assert target(1.0) == 9.0
    assert space["w"] is None

    values = [np.full(1000, 7.0), 0]

    class Sly2:
        @property
        def gone(self) -> float:
            values.clear()
            gc.collect()
            [np.zeros(1000) for _ in range(10)]
            return 1.0

    hidden = (HiddenInput(("object", Sly2(), ("attr", "gone")), FLOAT),)
    form = CallForm((ListTree((ArrayLeaf(F8, (1000,)), INT)),), FLOAT_RESULT, hidden=hidden)
    target = Target(made(form, gather(3, [0, 1, 2], ["array", "i64", "double"])))
    assert target(values) == 8.0
