"""Machine code that tests have had made, kept in a directory for the other processes and Pythons that run them.

What LLVM makes of a text at a level hangs on nothing but LLVM and the processor, and most tests make the same texts on
each Python: a third of all their time. What is met first is made as ever; nothing is taken from an earlier run, since
`.ci/run` gives a new directory.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from jitgrad.backend import engine

__all__ = ["MADE", "keep_code"]

# What the engine does without this room.
MADE = engine._made


def keep_code(directory: Path) -> None:
    """Have the engine take from a directory what LLVM has made of a text before, and leave there what it makes."""
    directory.mkdir(parents=True, exist_ok=True)

    def made(text: str, level: str) -> tuple[llvm.ExecutionEngine, engine.Timing]:
        key = f"{llvmlite.__version__} {llvm.llvm_version_info} {engine.host()} {level}\n{text}"
        path = directory / hashlib.sha256(key.encode()).hexdigest()
        if path.exists():
            names, _, code = path.read_bytes().partition(b"\n")
            # Nothing else would define them, and an engine that misses one ends the process.
            if all(map(engine._have, names.decode().split())):
                start = time.perf_counter()
                loaded = engine._loaded(code)
                return loaded, engine.Timing(0.0, 0.0, (time.perf_counter() - start) * 1e3)
        return MADE(text, level, lambda module, code: _write(path, _needed(module) + b"\n" + code))

    engine._made = made  # type: ignore[assignment]


def _needed(module: llvm.ModuleRef) -> bytes:
    """Return the names of what a module needs from outside."""
    values = [v for kind in (module.functions, module.global_variables) for v in kind]
    return " ".join(v.name for v in values if v.is_declaration and not v.name.startswith("llvm.")).encode()


def _write(path: Path, data: bytes) -> None:
    """Write a file that other processes may be looking for: they see all of it or none."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(name, path)
