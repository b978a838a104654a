"""Time to the first gradient, each in a fresh process: the first function of the process, the tenth, a 100-line one.

python benchmarks/first_call.py [--peers jax] [--repeat N]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

PROGRAM = """
import sys, time
which, kind = sys.argv[1:3]
import numpy as np
if which == "jax":
    import os
    os.environ["JAX_ENABLE_X64"] = "1"
    import jax, jax.numpy as xp
    grad = lambda f: (lambda g: (lambda *a: jax.block_until_ready(g(*a))))(jax.jit(jax.grad(f)))
else:
    import jitgrad
    xp = np
    grad = jitgrad.grad

def define(k):
    scope = {"xp": xp}
    exec(f"def f(x):\\n    return xp.sum(xp.sin(x * {k + 1}.0) * xp.exp(-x))", scope)
    return scope["f"]

def long_function(lines):
    text = "def f(x):\\n    a, b, c = x, 0.5 * x, 1.0 + x\\n"
    for k in range(lines):
        steps = [f"a = a * b + {k}.25 * c", "b = b - 0.125 * a * c", "c = c / (1.0 + a * a)"]
        text += "    " + steps[k % 3] + "\\n"
    scope = {}
    exec(text + "    return a + b + c\\n", scope)
    return scope["f"]

x = np.linspace(0.1, 1.0, 16)
if which == "jax":
    x = xp.asarray(x)
functions = [define(k) for k in range(10)]
if kind == "tenth":
    for f in functions[:9]:
        grad(f)(x)
f, arg = (long_function(100), 0.7) if kind == "lines" else (functions[9], x)
start = time.perf_counter()
grad(f)(arg)
print((time.perf_counter() - start) * 1e3)
"""


def main() -> None:
    """Print a line for each tool and each kind of first call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="jax")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    for kind, text in [("first", "first function"), ("tenth", "tenth function"), ("lines", "100-line scalar function")]:
        for tool in ["jitgrad", *options.peers.split(",")]:
            times = []
            for _ in range(options.repeat):
                command = [sys.executable, "-c", PROGRAM, tool, kind]
                times.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
            print(f"{text:26} {tool:8} median {statistics.median(times):8.1f} ms  ({min(times):.1f}..{max(times):.1f})")


if __name__ == "__main__":
    main()
