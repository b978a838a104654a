"""`python -m tests.mutants [name...]`: plant each bug in a copy of the package and say which test finds it.

Each bug is planted alone, in a copy; the tests of its room are run there, in one process, until one fails, then the
wider net. The command fails if a bug survives, if one no longer fits the package, or if a test that found one fails
without any bug.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from tests.mutants.plant import Copy, misfits
from tests.mutants.table import MUTANTS

T = TypeVar("T")
R = TypeVar("R")


class _Crew:
    """Some copies of the package, each used by one thread at a time."""

    def __init__(self, directory: Path, workers: int) -> None:
        self.copies = [Copy(directory / str(k)) for k in range(workers)]
        self.pool = ThreadPoolExecutor(workers)

    def each(self, work: Callable[[Copy, T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
        """Yield each item and what the work gives for it, as they are done."""

        def with_copy(item: T) -> tuple[T, R]:
            copy = self.copies.pop()
            try:
                return item, work(copy, item)
            finally:
                self.copies.append(copy)

        for done in as_completed([self.pool.submit(with_copy, item) for item in items]):
            yield done.result()


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only mutants with one of these words in their names")
    parser.add_argument("--seconds", type=float, default=240.0, help="the most that the tests of one mutant may take")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    chosen = [m for m in MUTANTS if not given.names or any(word in m.name for word in given.names)]
    if not chosen:
        parser.error(f"no mutant has a name with {' or '.join(given.names)}")
    wrong = misfits(MUTANTS)
    for line in wrong:
        print(line)
    if wrong:
        return 2
    start = time.monotonic()
    counts: collections.Counter[str] = collections.Counter()
    finders: dict[str, None] = {}
    with tempfile.TemporaryDirectory() as directory:
        crew = _Crew(Path(directory), given.workers)
        found = crew.each(lambda copy, mutant: copy.find(mutant, given.seconds), chosen)
        for mutant, verdict in found:
            counts[verdict.word] += 1
            if verdict.word == "caught":
                finders[verdict.by.partition(" died of ")[0]] = None
            where = f" ({verdict.where})" if verdict.where else ""
            print(f"{verdict.word:8} {verdict.seconds:4.0f} s  {mutant.name}: {verdict.by}{where}", flush=True)
        # A test that fails anyway finds nothing.
        word, by = crew.copies[0].run(list(finders), given.seconds) if finders else ("SURVIVED", "")
    if word != "SURVIVED":
        print(f"the tests fail without any bug: {by}")
        return 2
    print(", ".join(f"{n} {word}" for word, n in sorted(counts.items())), f"in {time.monotonic() - start:.0f} s")
    return 0 if set(counts) == {"caught"} else 1


if __name__ == "__main__":
    sys.exit(main())
