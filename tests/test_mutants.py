"""The command that plants bugs, on one bug; all of them take minutes: `python -m tests.mutants`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import jitgrad
from tests.mutants.__main__ import main
from tests.mutants.mutant import Mutant
from tests.mutants.plant import Copy, misfits
from tests.mutants.rooms import NET, ROOMS, near_tests
from tests.mutants.table import MUTANTS

BUG = next(m for m in MUTANTS if m.name == "the cotangent of what a store overwrote is not zeroed")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("mutants") / "copy")


def test_every_mutant_fits_the_package() -> None:
    assert misfits(MUTANTS) == []
    assert len(MUTANTS) >= 20
    assert len({m.name for m in MUTANTS}) == len(MUTANTS)


def test_every_room_has_tests() -> None:
    here = Path(__file__).parent
    assert [t for tests in (NET, *ROOMS.values()) for t in tests if not (here / t).exists()] == []
    assert near_tests("graph/diff/undo.py") == ROOMS["graph/diff/"]
    assert near_tests("families.py") == ROOMS[""]


def test_a_mutant_is_caught_and_mended(copy: Copy) -> None:
    planted = copy.root / "jitgrad" / BUG.file
    before = planted.read_bytes()
    verdict = copy.find(BUG, 200.0)
    assert (verdict.word, verdict.where) == ("caught", "room"), verdict
    assert verdict.by.startswith("tests/graph/")
    assert planted.read_bytes() == before
    assert BUG.old in (Path(jitgrad.__file__).parent / BUG.file).read_text(), "the work tree was changed"


def test_without_a_bug_nothing_is_caught(copy: Copy) -> None:
    assert copy.run(["tests/graph/test_tangent.py"], 200.0)[0] == "SURVIVED"


def test_the_name_of_what_fails_may_look_like_a_message(copy: Copy) -> None:
    made = copy.root / "tests" / "test_made.py"
    made.write_text(
        "import pytest\n\n\n@pytest.mark.parametrize('x', ['a[i - 1]', 'a[i - 1] - 2'])\n"
        "def test_it(x: str) -> None:\n    assert len(x) < 9, 'x - y'\n"
    )
    try:
        assert copy.run(["tests/test_made.py"], 200.0) == ("caught", "tests/test_made.py::test_it[a[i - 1] - 2]")
    finally:
        made.unlink()


def test_a_package_that_cannot_be_imported_is_no_catch(copy: Copy) -> None:
    broken = dataclasses.replace(BUG, new="    return (")
    assert copy.find(broken, 200.0).word == "BROKEN"


def test_a_mutant_that_no_longer_fits_is_an_error(copy: Copy) -> None:
    gone = Mutant("gone", BUG.file, "text that is nowhere", "")
    missing = Mutant("missing", "no/such/file.py", "x", "")
    assert len(misfits([gone, missing, BUG])) == 2
    with pytest.raises(LookupError):
        copy.find(gone, 200.0)


def test_names_must_be_known() -> None:
    with pytest.raises(SystemExit):
        main(["no such name"])
