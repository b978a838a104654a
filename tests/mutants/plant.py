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
from tests.mutants.mutant import Mutant
from tests.mutants.rooms import NET, near_tests

__all__ = ["Copy", "Verdict", "misfits"]

PACKAGE = Path(jitgrad.__file__).parent
TESTS = Path(__file__).parents[1]


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
    where : str
        "room" if the tests of the mutant's room found it, "net" if it took the wider ones.
    seconds : float
    """

    word: str
    by: str
    where: str = ""
    seconds: float = 0.0


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
        """Plant a bug, run the tests of its room and then the net until one fails, and mend it again.

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
        start = time.monotonic()
        path.write_text(text.replace(mutant.old, mutant.new))
        near = near_tests(mutant.file)
        # A bug in how LLVM is used shows in no text that it is given.
        anew = mutant.file == "backend/engine.py"
        try:
            where = "room"
            word, by = self.run([f"tests/{t}" for t in near], seconds, anew)
            if word == "SURVIVED":
                where = "net"
                word, by = self.run([f"tests/{t}" for t in NET if t not in near], seconds, anew)
        finally:
            path.write_text(text)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return Verdict(word, by, where if word == "caught" else "", time.monotonic() - start)

    def run(self, tests: Sequence[str], seconds: float, anew: bool = False) -> tuple[str, str]:
        """Run tests in one process, in order, until one fails; return a verdict's word and why.

        Machine code of a text that tests have had made before is taken from there, but where it is to be made `anew`.
        """
        # What a process was at when it died stands last in its output, which names each test before it runs. To rewrite
        # the tests' asserts for the sake of their messages would take longer than most bugs live.
        command = [sys.executable, "-m", "pytest", "-x", "-vv", "-rfE", "-p", "no:cacheprovider", "--tb=no"]
        command += ["--assert=plain", *tests]
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        kept = {} if anew else {"JITGRAD_KEPT_CODE": str(self.root / "code")}
        environment = {**os.environ, **threads, **kept, "PYTHONPATH": str(self.root)}
        with (self.root / "output.txt").open("w+") as out:
            try:
                done = subprocess.run(
                    command, cwd=self.root, env=environment, stdout=out, stderr=out, timeout=seconds, check=False
                )
                code = done.returncode
            except subprocess.TimeoutExpired:
                code = None
            out.seek(0)
            text = out.read()
        if code == 0:
            return "SURVIVED", "all tests pass"
        named = re.findall(r"^(tests/\S+::.*?)(?: [A-Z]+ +\[ *\d+%\])? *$", text, re.MULTILINE)
        last = named[-1] if named else ""
        if code is None:
            # Tests that take long find nothing: only one that never ends would be a catch, and nobody can tell.
            return "SURVIVED", f"no test failed within {seconds:.0f} s, {last} was running"
        if code < 0 and last:
            return "caught", f"{last} died of signal {-code}"
        failed = re.search(r"^(?:FAILED|ERROR) (tests/\S+::.*)$", text, re.MULTILINE)
        if code != 1 or failed is None:
            return "BROKEN", text[-2000:]
        # The message behind the name begins with " - ", which the name may have in it too.
        return "caught", max((test for test in named if failed[1].startswith(test)), key=len, default=failed[1])
