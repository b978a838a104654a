"""Time gradients against peers, interleaved in one process, as ratios of medians.

    python benchmarks/run.py [--case NAME] [--peers jax,numba,autograd] [--seconds S] [--json FILE]

Each case in `cases/` is one plain NumPy program with its arguments, the same program for JAX, and, where it makes
sense, gradients written by hand. A case's results are checked before anything is timed. All peers run on one thread.
"""

from __future__ import annotations

import os

# One thread for everyone; must be set before the libraries load.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_ENABLE_X64", "1")

import argparse
import importlib
import json
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

HERE = pathlib.Path(__file__).parent


@dataclass
class Row:
    """One way to compute one case's gradient: seconds of its first call, and of each timed call."""

    name: str
    call: Callable[[], Any]
    first_s: float
    times: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median of the timed calls, in seconds."""
        return statistics.median(self.times)


def single_thread() -> None:
    """Keep the whole process, and so every peer, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})


def leaves(x: Any) -> list[np.ndarray]:
    """Return the arrays of a result in order."""
    if isinstance(x, dict):
        return [a for v in x.values() for a in leaves(v)]
    if isinstance(x, list | tuple):
        return [a for v in x for a in leaves(v)]
    return [np.asarray(x)]


def repeat(call: Callable[[], Any], seconds: float) -> float:
    """Return the seconds of one call, averaged over as many as fit in `seconds`."""
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            call()
        spent = time.perf_counter() - start
        if spent >= seconds or count >= 1_000_000:
            return spent / count
        count = max(count + 1, int(count * min(seconds / max(spent, 1e-9), 100)))


def measure(case: Any, peers: list[str], seconds: float) -> dict[str, Any]:
    """Check and time one case; return a record for the JSON file."""
    makers = case.makers()
    rows: list[Row] = []
    reference: list[np.ndarray] | None = None
    for name, make in makers.items():
        if name not in ("jitgrad", "numpy", "numba") and name not in peers:
            continue
        if name == "numba" and name not in peers:
            continue
        start = time.perf_counter()
        try:
            call = make()
            got = leaves(call())
        except ImportError:
            continue
        first = time.perf_counter() - start
        if reference is None:
            reference = got
        for a, b in zip(got, reference, strict=True):
            tol = 1e-4 if b.dtype == np.float32 else 1e-8
            scale = max(1.0, float(np.max(np.abs(b))) if b.size else 1.0)
            np.testing.assert_allclose(a, b, rtol=tol, atol=tol * scale, err_msg=f"{case.title}: {name}")
        rows.append(Row(name, call, first))
    for _ in range(7):
        for row in rows:
            row.times.append(repeat(row.call, seconds / 7))
    return {
        "case": case.title,
        "rows": {
            r.name: {
                "median_s": r.median,
                "low_s": min(r.times),
                "high_s": max(r.times),
                "first_call_s": r.first_s,
            }
            for r in rows
        },
    }


def table(records: list[dict[str, Any]]) -> str:
    """Return the records as text: microseconds, and each peer's time as a multiple of ours."""
    head = "peers: median us (ratio to jitgrad) [first ms]"
    lines = [f"{'case':34} {'jitgrad us':>12} {'low..high':>20}  {'first ms':>8}  {head}"]
    for r in records:
        ours = r["rows"]["jitgrad"]
        spread = f"{ours['low_s'] * 1e6:.2f}..{ours['high_s'] * 1e6:.2f}"
        rest = "  ".join(
            f"{n} {v['median_s'] * 1e6:.2f} ({v['median_s'] / ours['median_s']:.2f}x) [{v['first_call_s'] * 1e3:.0f}]"
            for n, v in r["rows"].items()
            if n != "jitgrad"
        )
        lines.append(
            f"{r['case']:34} {ours['median_s'] * 1e6:12.3f} {spread:>20}  {ours['first_call_s'] * 1e3:8.1f}  {rest}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the cases that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="name of a case (prefix); may be given several times")
    parser.add_argument("--peers", default="jax,numba,autograd")
    parser.add_argument("--seconds", type=float, default=0.7, help="time for each way of each case")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    single_thread()
    names = sorted(p.stem for p in (HERE / "cases").glob("*.py") if p.stem != "__init__")
    wanted = [n for n in names if not options.case or any(n.startswith(c) for c in options.case)]
    records = []
    for name in wanted:
        module = importlib.import_module(f"cases.{name}")
        for case in module.CASES:
            records.append(measure(case, options.peers.split(","), options.seconds))
            print(table(records[-1:]).split("\n")[1], flush=True)
    print()
    print(table(records))
    if options.json:
        info = {"python": platform.python_version(), "machine": platform.machine(), "numpy": np.__version__}
        options.json.write_text(json.dumps({"info": info, "records": records}, indent=1))


if __name__ == "__main__":
    main()
