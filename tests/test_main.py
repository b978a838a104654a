"""The command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jitgrad
from jitgrad import __main__ as command_line


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m jitgrad` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "jitgrad", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        timeout=300,
        check=False,
    )


def test_alone_it_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main([]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: python -m jitgrad")
    assert "\n  demo " in out and "\n  info " in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command_line.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"{jitgrad.__version__}\n"


@pytest.mark.smoke
def test_info() -> None:
    done = run("info")
    assert done.returncode == 0, done.stderr
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert {"jitgrad", "Python", "NumPy", "llvmlite", "bytecode", "system", "processor", "BLAS"} <= set(rows)
    assert rows["jitgrad"] == jitgrad.__version__
    assert "LLVM" in rows["llvmlite"]


def test_info_says_when_the_tables_are_older_than_python(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "provisionally" not in command_line.describe()
    monkeypatch.setattr(command_line, "PYTHON_PROVISIONAL", True)
    assert "provisionally" in command_line.describe()


@pytest.mark.parametrize(
    ("typed", "hint"), [("dmeo", "did you mean `demo`?"), ("infos", "did you mean `info`?"), ("xyz", "demo, info")]
)
def test_a_wrong_command(typed: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command_line.main([typed])
    assert end.value.code == 2
    assert hint in capsys.readouterr().err


def test_the_demo_has_options() -> None:
    done = run("demo", "--help")
    assert done.returncode == 0
    assert "--epochs" in done.stdout and "--out" in done.stdout


def test_without_its_packages_the_demo_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sklearn.py").write_text("raise ModuleNotFoundError('no sklearn', name='sklearn')\n")
    done = run("demo", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "The demo needs sklearn. To install all it needs: pip install '.[demo]'\n"
