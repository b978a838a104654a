"""The command line: `python -m jitgrad`.

`demo` trains a classifier and checks the set-up on the way; `info` prints what a report of a problem should contain.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.metadata
import platform
import sys
from collections.abc import Sequence

import jitgrad
from jitgrad.backend import blas
from jitgrad.backend.engine import host
from jitgrad.options import OPTIONS
from jitgrad.trace.bytecode import PYTHON_PROVISIONAL

__all__ = ["describe", "main"]

_COMMANDS = {
    "demo": "train a classifier of hand-written digits, check and time its gradient, draw the loss",
    "info": "print versions, processor and BLAS",
}
# Of the processor's features, those that decide which vectors are emitted.
_VECTORS = ("sse4.2", "avx", "avx2", "fma", "avx512f", "neon", "sve")


def describe() -> str:
    """Return what jitgrad runs on, one line a fact."""
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "llvmlite", "bytecode")}
    llvm = ".".join(map(str, importlib.import_module("llvmlite.binding").llvm_version_info))
    processor = host()
    features = [f for f in _VECTORS if f"+{f}" in processor.features.split(",")]
    product = blas.find("dgemm")
    found = "not found: products call back to NumPy"
    if product is not None:
        found = f"{product.convention}, {product.integer_bits}-bit integers, shared with NumPy"
    python = f"{platform.python_version()} ({platform.python_implementation()})"
    if PYTHON_PROVISIONAL:
        python += ": newer than the tables of bytecode, which are used provisionally"
    rows = {
        "jitgrad": jitgrad.__version__,
        "Python": python,
        "NumPy": versions["numpy"],
        "llvmlite": f"{versions['llvmlite']} (LLVM {llvm})",
        "bytecode": versions["bytecode"],
        "system": processor.triple,
        "processor": f"{processor.cpu} ({', '.join(features) or 'no vector features'})",
        "BLAS": found,
        "runs": "the interpreter (JITGRAD_INTERPRET)" if OPTIONS.interpret else "machine code",
    }
    return "\n".join(f"{name:10} {value}" for name, value in rows.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of the process if None.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    listed = "\n".join(f"  {name:6} {text}" for name, text in _COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m jitgrad",
        usage="python -m jitgrad command [options]",
        description="Gradients of plain NumPy programs, compiled to machine code.",
        epilog=f"commands:\n{listed}\n\nOptions of a command: python -m jitgrad demo --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=jitgrad.__version__)
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    if not given:
        parser.print_help()
        return 0
    if given[0] == "demo":
        # Imported only now: it needs more packages than jitgrad does.
        importlib.import_module("jitgrad.demo").main(given[1:])
        return 0
    command = parser.parse_args(given).command
    if command == "info":
        print(describe())
        return 0
    near = difflib.get_close_matches(command, _COMMANDS, n=1, cutoff=0.4)
    hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(_COMMANDS)}"
    parser.error(f"no command is called `{command}`; {hint}")


if __name__ == "__main__":
    sys.exit(main())
