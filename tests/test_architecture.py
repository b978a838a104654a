"""The rules of the house, read off the source: which room may import which, exports, error codes, sizes of files.

Nothing is imported here but the error table; modules are parsed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import jitgrad
from jitgrad.errors import TABLE

PACKAGE = Path(jitgrad.__file__).parent
TESTS = Path(__file__).parent

# A room may import rooms of lower rank, and its own.
RANKS = [
    (
        "jitgrad.collection",
        "jitgrad.location",
        "jitgrad.errors",
        "jitgrad.options",
        "jitgrad.pytree",
        "jitgrad.transform",
        "jitgrad.families",
    ),
    ("jitgrad.graph",),
    ("jitgrad.trace", "jitgrad.backend"),
    ("jitgrad.execute", "jitgrad.pipeline"),
    ("jitgrad.cache",),
    ("jitgrad.api",),
    ("jitgrad",),
    ("jitgrad.demo", "jitgrad.__main__"),
]
# The first rank is made of single modules that may import each other; so is the fourth.
MIXED = (0, 3)
# Modules that may import by name at run time, and why.
BY_NAME = {"jitgrad.__main__": "the demo needs packages that jitgrad does not"}

LINES = 500
# Larger files and what each may not grow beyond: a list that may only get shorter.
LARGE: dict[str, int] = {}


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    tree: ast.Module
    text: str

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def parsed(path: Path) -> Module:
    parts = ["jitgrad", *path.relative_to(PACKAGE).with_suffix("").parts]
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    text = path.read_text()
    return Module(name, path, ast.parse(text), text)


MODULES = {m.name: m for m in map(parsed, sorted(PACKAGE.rglob("*.py")))}
each_module = pytest.mark.parametrize("module", MODULES.values(), ids=list(MODULES))


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(module: Module) -> Iterator[tuple[ast.stmt, str, bool]]:
    """Yield (statement, module of this package that it imports, whether it stands inside a function)."""

    def walk(nodes: list[ast.stmt], inside: bool) -> Iterator[tuple[ast.stmt, str, bool]]:
        for node in nodes:
            if is_type_checking(node):
                continue
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from ((node, name, inside) for name in imported(module, node))
            within = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for field in ("body", "orelse", "finalbody"):
                yield from walk(getattr(node, field, []), within)
            for handler in getattr(node, "handlers", []):
                yield from walk(handler.body, within)
            for case in getattr(node, "cases", []):
                yield from walk(case.body, within)

    return walk(module.tree.body, False)


def imported(module: Module, node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        base = node.module or ""
        if node.level:
            above = module.package.split(".")
            base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
        # `from package import name`: a module of that name, or the package itself.
        full = [f"{base}.{alias.name}" for alias in node.names]
        names = [name if name in MODULES else base for name in full]
    return [name for name in names if name.partition(".")[0] == "jitgrad"]


def room(name: str) -> tuple[int, str]:
    """Return rank and room of a module."""
    best = max(
        ((rank, r) for rank, rooms in enumerate(RANKS) for r in rooms if name == r or name.startswith(r + ".")),
        key=lambda found: len(found[1]),
    )
    assert best[1] != "jitgrad" or name == "jitgrad", f"{name} has no rank: give it one in RANKS"
    return best


# --- imports


@each_module
def test_imports_go_down(module: Module) -> None:
    rank, own = room(module.name)
    for node, name, _ in imports(module):
        other_rank, other = room(name)
        allowed = other_rank < rank or other == own or (other_rank == rank and rank in MIXED)
        assert allowed, f"{module.path}:{node.lineno}: {own} may not import {name}"


@each_module
def test_no_import_is_hidden(module: Module) -> None:
    for node, name, inside in imports(module):
        assert not inside, f"{module.path}:{node.lineno}: the import of {name} is hidden in a function"
    by_name = [n for n in ast.walk(module.tree) if isinstance(n, ast.Constant) and str(n.value).startswith("jitgrad.")]
    calls = "import_module" in module.text or "__import__" in module.text
    assert not (by_name and calls) or module.name in BY_NAME, f"{module.path} imports jitgrad's modules by name"


def test_there_is_no_cycle() -> None:
    needs = {m.name: {name for _, name, _ in imports(m)} - {m.name} for m in MODULES.values()}
    done: set[str] = set()

    def visit(name: str, chain: tuple[str, ...]) -> None:
        assert name not in chain, " -> ".join([*chain[chain.index(name) :], name])
        if name not in done:
            for other in sorted(needs[name]):
                visit(other, (*chain, name))
            done.add(name)

    for name in needs:
        visit(name, ())


# --- exports


def exported(module: Module) -> list[str] | None:
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found: list[str] = ast.literal_eval(node.value)
            return found
    return None


def defined(module: Module) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    """Return the public functions and classes of a module.

    A function that a decorator with arguments registers (`@lowers("add")`) is reached through its table.
    """
    found: dict[str, ast.FunctionDef | ast.ClassDef] = {}
    for node in module.tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        registered = isinstance(node, ast.FunctionDef) and any(isinstance(d, ast.Call) for d in node.decorator_list)
        if not registered or node.name in (exported(module) or []):
            found[node.name] = node
    return found


def bound(module: Module) -> set[str]:
    """Return the names that a module's top-level statements assign or import."""
    imported_here = [n for n in ast.walk(module.tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {(alias.asname or alias.name).partition(".")[0] for n in imported_here for alias in n.names}
    targets = [t for n in module.tree.body if isinstance(n, ast.Assign) for t in n.targets]
    targets += [n.target for n in module.tree.body if isinstance(n, ast.AnnAssign)]
    return names | {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}


def order(name: str) -> tuple[int, list[str | int]]:
    """CONSTANTS, then Classes, then functions, each in alphabetical order, log2 before log10."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return kind, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


@each_module
def test_exports_are_exact_and_sorted(module: Module) -> None:
    """`__all__` lists every public function and class of the module, and of its constants those meant for others."""
    names = exported(module)
    if names is None:
        assert list(defined(module)) == [], f"{module.name} has no __all__"
        return
    assert names == sorted(set(names), key=order)
    assert sorted(set(defined(module)) - set(names)) == [], f"not in __all__ of {module.name}"
    assert sorted(set(names) - set(defined(module)) - bound(module)) == [], f"{module.name} does not define them"


def test_the_public_names_exist() -> None:
    assert [name for name in jitgrad.__all__ if not hasattr(jitgrad, name)] == []


@each_module
def test_documentation(module: Module) -> None:
    assert ast.get_docstring(module.tree) or not module.text, f"{module.name} has no docstring"
    for name, node in defined(module).items():
        overloaded = any(ast.unparse(d) == "overload" for d in node.decorator_list)
        assert overloaded or ast.get_docstring(node), f"{module.name}.{name} has no docstring"


# --- error codes

CODE = re.compile(r"\bJG\d{3}\b")


def codes_raised() -> dict[str, str]:
    """Return the codes that stand in string literals outside docstrings and the table, and where."""
    found: dict[str, str] = {}
    for module in MODULES.values():
        if module.name == "jitgrad.errors":
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                found.setdefault(node.value, f"{module.path}:{node.lineno}")
    return found


def test_every_code_that_is_raised_is_in_the_table() -> None:
    assert {code: where for code, where in codes_raised().items() if code not in TABLE} == {}


def test_every_code_of_the_table_is_raised() -> None:
    assert sorted(set(TABLE) - set(codes_raised())) == []


def test_every_code_of_the_table_is_raised_by_a_test() -> None:
    mentioned = {code for path in TESTS.rglob("*.py") for code in CODE.findall(path.read_text())}
    assert sorted(set(TABLE) - mentioned) == []
    assert sorted(mentioned - set(TABLE)) == []


def test_the_table_is_in_order() -> None:
    assert list(TABLE) == sorted(TABLE)


# --- files


def python_files() -> list[Path]:
    return [*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py")]


def name_of(path: Path) -> str:
    root = PACKAGE.parent if path.is_relative_to(PACKAGE) else TESTS.parent
    return path.relative_to(root).as_posix()


def test_nothing_is_left_for_later() -> None:
    words = re.compile("|".join(["TO" + "DO", "FIX" + "ME", r"\bX" + r"XX\b", "HA" + "CK"]))
    assert [name_of(path) for path in python_files() if words.search(path.read_text())] == []


def test_no_test_is_switched_off() -> None:
    marks = re.compile(r"mark\.(sk" + r"ip|xf" + r"ail)|pytest\.(sk" + r"ip|xf" + r"ail|importor" + r"skip)\(")
    assert [name_of(path) for path in TESTS.rglob("*.py") if marks.search(path.read_text())] == []


def test_no_path_of_a_machine() -> None:
    paths = re.compile(r"[\"'\s](/tm" + r"p|/ho" + r"me|/ro" + r"ot|/wo" + r"rk|/opt)/")
    assert [name_of(path) for path in python_files() if paths.search(path.read_text())] == []


def test_files_are_small() -> None:
    lines = {name_of(path): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    too_large = {name: n for name, n in lines.items() if n > LARGE.get(name, LINES)}
    assert too_large == {}
    assert [name for name in LARGE if lines.get(name, 0) <= LINES] == [], "no longer large: take them off the list"
