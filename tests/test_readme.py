"""What README says is so: its example, its conventions, its codes, its links, its commands."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import jitgrad
from jitgrad.errors import TABLE
from jitgrad.graph.ops.conventions import CONVENTIONS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def rows_after(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a line that begins with a heading."""
    lines = README[README.index(f"\n{heading}") + 1 :].splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("|---"))
    table = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip().strip("`") for cell in line.strip("|").split(" | ")])
    return table


@pytest.mark.smoke
def test_the_example() -> None:
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    path = ROOT / "README.md"
    scope: dict[str, object] = {}
    exec(compile(code, str(path), "exec"), scope)
    a = np.array([[4.0, 1.0], [1.0, 3.0]])
    np.testing.assert_allclose(scope["value"], np.linalg.slogdet(a)[1], rtol=1e-14)
    # Only the lower triangle is read.
    inverse = np.linalg.inv(a)
    np.testing.assert_allclose(scope["gradient"], np.tril(2 * inverse) - np.diag(np.diag(inverse)), rtol=1e-13)


def test_the_conventions_are_those_of_the_table() -> None:
    table = {f"{row.op} {row.point!r}": row for row in CONVENTIONS}
    shown = rows_after("**Where a derivative is a choice**")
    assert len(shown) >= 5
    for op, point, ours, jax in shown:
        row = table[f"{op} {point}"]
        assert (repr(row.ours), repr(row.jax)) == (ours, jax), op
    assert math.inf in table["sqrt (0.0,)"].ours


def test_the_codes_are_those_of_the_table() -> None:
    assert set(re.findall(r"JG\d{3}", README)) <= set(TABLE)


def test_the_public_names_are_all_there() -> None:
    for name in ("grad", "value_and_grad", "vjp", "jvp", "jit"):
        assert name in jitgrad.__all__
        assert f"`{name}(" in README


def test_the_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists() and not link.startswith("jitgrad/")] == []
    package = Path(jitgrad.__file__).parent.parent
    assert [link for link in links if link.startswith("jitgrad/") and not (package / link).exists()] == []


def test_the_set_up_is_two_commands() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in re.findall(r"pip install '\.\[(\w+)\]'", README):
        assert extra in extras
    assert "pip install '.[demo]' && python -m jitgrad demo" in README
    assert "pip install '.[test]' && pytest" in README
