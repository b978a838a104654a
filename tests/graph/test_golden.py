"""The golden cases, and the mechanism itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.graph.golden import FOLDER, check_case, read_case

_CASES = sorted(FOLDER.glob("*.case"))


@pytest.mark.parametrize("path", _CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    check_case(read_case(path))


def test_files_read_back() -> None:
    assert _CASES
    for path in _CASES:
        assert read_case(path).text() == path.read_text()


@pytest.fixture
def stale(tmp_path: Path) -> Path:
    path = tmp_path / "stale.case"
    path.write_text(
        "# Twice the same sine.\nstage: graph-text\n--- source\n"
        "graph f(%x: float64[]) {\n  %0 = sin %x : float64[]\n  return %0\n}\n--- expect\nsomething old\n"
    )
    return path


def test_a_difference_fails(stale: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JITGRAD_BLESS", raising=False)
    with pytest.raises(AssertionError, match=r"stale.case \(Twice the same sine.\).*\n.*\n.*\n.*\n-something old"):
        check_case(read_case(stale))
    assert stale.read_text().endswith("something old\n")


def test_blessing_writes_the_file(
    stale: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JITGRAD_BLESS", "1")
    monkeypatch.delenv("CI", raising=False)
    check_case(read_case(stale))
    assert "-something old" in capsys.readouterr().out
    monkeypatch.delenv("JITGRAD_BLESS")
    check_case(read_case(stale))


def test_ci_refuses_to_bless(stale: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JITGRAD_BLESS", "1")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(AssertionError, match="nothing is blessed"):
        check_case(read_case(stale))
    assert stale.read_text().endswith("something old\n")


def test_a_case_says_what_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "odd.case"
    path.write_text("stage: graph-text\n--- source\n--- expect\n")
    with pytest.raises(ValueError, match=r"odd.case: a case has"):
        read_case(path)


def test_long_graphs_are_no_golden_cases(tmp_path: Path) -> None:
    path = tmp_path / "long.case"
    ops = "".join(f"  %{k + 1} = sin %{k} : float64[]\n" for k in range(30))
    path.write_text(
        "# Long.\nstage: graph-text\n--- source\ngraph f(%x: float64[]) {\n  %0 = sin %x : float64[]\n"
        + ops
        + "  return %30\n}\n--- expect\n"
    )
    with pytest.raises(AssertionError, match="lines are too many"):
        check_case(read_case(path))
