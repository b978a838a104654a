"""The structure of every function in a library of Python code: `python -m tests.trace.corpus [share] [package ...]`.

In: the standard library, NumPy, or the packages named. Out: how many code objects, loops and selectors there are, and
what is wrong with them. `test_regions.py` runs a seeded sample.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import sysconfig
import time
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jitgrad.errors import JitgradError
from jitgrad.trace.regions import structure
from tests.trace.walk import codes_in, faults, selectors, source_loops

__all__ = ["Report", "check", "files_of"]

_SIZE_LIMIT = 12_000
_SKIP = {"test", "tests", "idlelib", "lib2to3", "site-packages", "__pycache__", "turtledemo"}


@dataclass(slots=True)
class Report:
    """What was looked at and what was found."""

    codes: int = 0
    loops: int = 0
    selectors: int = 0
    functions: int = 0
    loops_differ: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def files_of(name: str) -> list[Path]:
    """Return the source files of the standard library ("stdlib") or a package."""
    if name == "stdlib":
        root = Path(sysconfig.get_paths()["stdlib"])
    else:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.submodule_search_locations
        root = Path(spec.submodule_search_locations[0])
    return sorted(p for p in root.rglob("*.py") if not _SKIP & set(p.relative_to(root).parts))


def _compiled(path: Path) -> tuple[str, types.CodeType] | None:
    try:
        source = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return source, compile(source, str(path), "exec", dont_inherit=True)
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return None


def check(files: list[Path], seconds: float = 1e9, walks: int = 3) -> Report:
    """Check the functions of files until the time is over."""
    report = Report()
    end = time.monotonic() + seconds
    for path in files:
        if time.monotonic() > end:
            break
        compiled = _compiled(path)
        if compiled is None:
            continue
        source, module = compiled
        expected = source_loops(source)
        for code in codes_in(module):
            if len(code.co_code) > _SIZE_LIMIT:
                continue
            where = f"{path}:{code.co_firstlineno} {code.co_qualname}"
            report.codes += 1
            try:
                found = faults(code, walks)
                tree = structure(code)
            except JitgradError as exception:
                report.faults.append(f"{where}: {str(exception).splitlines()[0]}")
                continue
            report.faults += [f"{where}: {what}" for what in found]
            report.loops += len(tree.flow.loops)
            report.selectors += selectors(tree)
            report.functions += 1
            report.loops_differ += [f"{where}: {what}" for what in _loops_differ(code, expected)]
    return report


def _loops_differ(code: types.CodeType, expected: dict[tuple[str, int], int]) -> Iterator[str]:
    """Compare with the source, where no handler and no comprehension hides or adds a loop."""
    key = (code.co_name, code.co_firstlineno)
    flow = structure(code).flow
    inlined = any(i.op == "accum" and i.arg[0] in _GROWING for b in flow.blocks.values() for i in b.instrs)
    if key in expected and not code.co_exceptiontable and not inlined and len(flow.loops) != expected[key]:
        yield f"{len(flow.loops)} loops, {expected[key]} in the source"


_GROWING = ("list_append", "set_add", "map_add")


def main() -> None:
    """Check all of the packages named on the command line."""
    share, *packages = sys.argv[1:] or ["1"]
    for name in packages or ["stdlib", "numpy"]:
        files = files_of(name)
        files = random.Random(0).sample(files, int(len(files) * float(share)))
        start = time.monotonic()
        report = check(files)
        print(
            f"{name}: {report.codes} code objects, {report.loops} loops, {report.selectors} selectors, "
            f"{len(report.loops_differ)} with other loops than the source, {len(report.faults)} faults, "
            f"{time.monotonic() - start:.0f} s"
        )
        for line in report.loops_differ[:30] + report.faults[:50]:
            print("   ", line)


if __name__ == "__main__":
    main()
