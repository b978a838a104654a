"""Copies of the package with one bug in them, and tests run there; the work tree is never changed."""

from __future__ import annotations

import compileall
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jitgrad
from tests.mutants.table import Mutant

__all__ = ["NET", "Copy", "Verdict", "misfits"]

PACKAGE = Path(jitgrad.__file__).parent
TESTS = Path(__file__).parents[1]

# Run after the tests chosen for a mutant: the bank, and random programs.
NET = ("programs/test_textbook.py", "programs/test_programs.py", "test_properties.py")


# After how many seconds a file of tests is taken to hang.
_HANGS = 300.0


@dataclass(frozen=True)
class Verdict:
    """What tests said of a copy.

    Attributes
    ----------
    word : str
        "caught"    a test failed, or its process died or hung.
        "SURVIVED"  all tests passed.
        "BROKEN"    no test could be run: a mutant must leave a package that can be imported.
    by : str
        The test that failed, or why there is none.
    seconds : float
    """

    word: str
    by: str
    seconds: float


def misfits(mutants: Iterable[Mutant]) -> list[str]:
    """Return a line for each mutant whose text does not stand once in its file."""
    found = []
    for mutant in mutants:
        path = PACKAGE / mutant.file
        count = path.read_text().count(mutant.old) if path.exists() else 0
        if count != 1:
            found.append(f"no longer fits: {mutant.name}: its text stands {count} times in jitgrad/{mutant.file}")
    return found


class Copy:
    """A copy of the package and its tests.

    Parameters
    ----------
    root : Path
        Where it is made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, root / "jitgrad", ignore=ignored)
        shutil.copytree(TESTS, root / "tests", ignore=ignored)
        for name in ("pyproject.toml", "README.md"):
            if (TESTS.parent / name).exists():
                shutil.copy2(TESTS.parent / name, root)
        # Compiled once: the runs below write nothing, so that no stale code of another mutant is met.
        compileall.compile_dir(root, quiet=2)

    def find(self, mutant: Mutant, seconds: float) -> Verdict:
        """Plant a bug, run the tests chosen for it and then the net, and mend it again.

        Raises
        ------
        LookupError
            If the text of the mutant does not stand once in its file.
        """
        path = self.root / "jitgrad" / mutant.file
        text = path.read_text()
        if text.count(mutant.old) != 1:
            raise LookupError(f"{mutant.name} does not fit jitgrad/{mutant.file}")
        before = path.stat()
        path.write_text(text.replace(mutant.old, mutant.new))
        try:
            return self.run((*mutant.tests, *(t for t in NET if t not in mutant.tests)), seconds)
        finally:
            path.write_text(text)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def run(self, tests: Sequence[str], seconds: float) -> Verdict:
        """Run tests in order until one fails."""
        start = time.monotonic()
        by = "all tests pass"
        for test in tests:
            left = seconds - (time.monotonic() - start)
            if left <= 0:
                # Tests that take long find nothing: only one that never ends is a catch.
                return Verdict("SURVIVED", f"no test failed within {seconds:.0f} s", seconds)
            code, by = self._pytest(test, max(left, _HANGS))
            if code != 0:
                return Verdict("BROKEN" if code > 1 else "caught", by, time.monotonic() - start)
        return Verdict("SURVIVED", by, time.monotonic() - start)

    def _pytest(self, test: str, seconds: float) -> tuple[int, str]:
        """Run one file of tests; return pytest's exit code and what failed."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-rf", "-p", "no:cacheprovider", f"tests/{test}"]
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        environment = {**os.environ, **threads, "PYTHONPATH": str(self.root)}
        try:
            done = subprocess.run(
                command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return -1, f"{test} did not end"
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
        if done.returncode < 0:
            return done.returncode, f"{test} died of signal {-done.returncode}"
        if done.returncode > 1:
            return done.returncode, (done.stdout + done.stderr)[-2000:]
        return done.returncode, failed[1] if failed else "all tests pass"
