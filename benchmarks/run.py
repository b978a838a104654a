"""Time gradients against peers, interleaved in one process, as ratios of medians.

    python benchmarks/run.py [--case NAME] [--peers jax,numba,autograd] [--seconds S] [--json FILE]

Each file in `cases/` holds plain NumPy programs with their arguments, the same programs for JAX, and gradients written
by hand. A case's results are checked before anything is timed; a way that raises is listed as "refuses". All run on one
thread.
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
import math
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from cases import PRIMALS, Case, Maker, jax_way, jitgrad_way, numba_way

HERE = pathlib.Path(__file__).parent
ROUNDS = 7


@dataclass
class Row:
    """One way of one case: seconds of its first call, and of each timed call."""

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


def warm_up(peers: Iterable[str]) -> None:
    """Import the libraries and compile something, so that the first call of a case is its compile time."""
    makers: dict[str, Maker] = {"jitgrad": jitgrad_way(lambda x: x * x, (2.0,))}
    if "jax" in peers:
        makers["jax"] = jax_way(lambda xp, x: xp.sin(x), (2.0,))
    if "numba" in peers:
        makers["numba"] = numba_way(lambda x: x * x, (2.0,))
    for make in makers.values():
        try:
            make()()
        except ImportError:
            continue


def check(got: Any, want: list[np.ndarray], tolerance: float, what: str) -> None:
    """Compare a result with the one found first; single precision has a tolerance of its own."""
    for a, b in zip(leaves(got), want, strict=True):
        tol = max(1e-4, tolerance) if b.dtype == np.float32 else tolerance
        scale = max(1.0, float(np.max(np.abs(b))) if b.size else 1.0)
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * scale, err_msg=what)


def measure(case: Case, peers: list[str], seconds: float) -> dict[str, Any]:
    """Check and time one case; return a record for the JSON file."""
    rows: dict[str, Row] = {}
    refusals: dict[str, str] = {}
    wanted: dict[bool, list[np.ndarray]] = {}
    for name, make in case.ways.items():
        if {"njit": "numba", "limit": "numba"}.get(name, name) not in ("jitgrad", "numpy", "jit", "python", *peers):
            continue
        start = time.perf_counter()
        try:
            call = make()
            got = call()
        except ImportError:
            continue
        except Exception as e:
            refusals[name] = f"{type(e).__name__}: {str(e).strip().splitlines()[0] if str(e) else ''}"
            continue
        first = time.perf_counter() - start
        want = wanted.setdefault(name in PRIMALS, leaves(got))
        check(got, want, case.tolerance, f"{case.title}: {name}")
        if name != "python":
            rows[name] = Row(call, first)
    for _ in range(ROUNDS):
        for row in rows.values():
            row.times.append(repeat(row.call, seconds / ROUNDS))
    return {
        "case": case.title,
        "rows": {
            name: {
                "median_s": r.median,
                "low_s": min(r.times),
                "high_s": max(r.times),
                "first_call_s": r.first_s,
                "compile_s": max(r.first_s - r.median, 0.0),
            }
            for name, r in rows.items()
        },
        "refusals": refusals,
    }


def ratios(record: dict[str, Any]) -> dict[str, float]:
    """Return what is aimed at: peers' times to ours, ours to the primal's, compile times to JAX's."""
    rows = record["rows"]
    if "jitgrad" not in rows:
        return {}
    ours = rows["jitgrad"]
    found = {f"{n}/ours": r["median_s"] / ours["median_s"] for n, r in rows.items() if n not in (*PRIMALS, "jitgrad")}
    primals = [rows[n]["median_s"] for n in ("jit", "njit") if n in rows]
    if primals:
        found["gradient/primal"] = ours["median_s"] / min(primals)
        if "njit" in rows:
            found["njit/jit"] = rows["njit"]["median_s"] / rows["jit"]["median_s"] if "jit" in rows else math.nan
    if "jax" in rows:
        found["compile: jax/ours"] = rows["jax"]["compile_s"] / ours["compile_s"] if ours["compile_s"] else math.inf
    return found


def text_of(record: dict[str, Any]) -> str:
    """Return a record as one line: microseconds, compile milliseconds, ratios, refusals."""
    rows, refusals = record["rows"], record["refusals"]
    parts = [f"{record['case']:26}"]
    if "jitgrad" in rows:
        ours = rows["jitgrad"]
        spread = f"{ours['low_s'] * 1e6:.1f}..{ours['high_s'] * 1e6:.1f}"
        parts.append(f"{ours['median_s'] * 1e6:12.2f} us {spread:>21} {ours['compile_s'] * 1e3:7.0f} ms ")
    parts += [f"{name} {value:.2f}" for name, value in ratios(record).items()]
    parts += [f"{name} refuses ({why[:70]})" for name, why in refusals.items()]
    return "  ".join(parts)


def summary(records: list[dict[str, Any]]) -> str:
    """Return the geometric mean and the worst of each ratio over the cases that have it."""
    found: dict[str, list[tuple[float, str]]] = {}
    for record in records:
        for name, value in ratios(record).items():
            if math.isfinite(value) and value > 0:
                found.setdefault(name, []).append((value, record["case"]))
    lines = []
    for name, values in found.items():
        mean = math.exp(statistics.fmean(math.log(v) for v, _ in values))
        low, high = min(values), max(values)
        lines.append(
            f"{name:20} mean {mean:7.2f}  {low[0]:.2f} ({low[1]}) .. {high[0]:.2f} ({high[1]})  of {len(values)}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the cases that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="title of a case (prefix); may be given several times")
    parser.add_argument("--peers", default="jax,numba,autograd")
    parser.add_argument("--seconds", type=float, default=0.7, help="time for each way of each case")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    single_thread()
    peers = options.peers.split(",")
    warm_up(peers)
    names = sorted(p.stem for p in (HERE / "cases").glob("*.py") if p.stem != "__init__")
    records = []
    for name in names:
        for case in importlib.import_module(f"cases.{name}").CASES:
            if options.case and not any(case.title.startswith(c) for c in options.case):
                continue
            records.append(measure(case, peers, options.seconds))
            print(text_of(records[-1]), flush=True)
    print(f"\n{summary(records)}")
    if options.json:
        info = {"python": platform.python_version(), "machine": platform.machine(), "numpy": np.__version__}
        options.json.write_text(json.dumps({"info": info, "records": records}, indent=1))


if __name__ == "__main__":
    main()
