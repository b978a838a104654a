"""LLVM IR text into loaded machine code.

In: the text of one module and a level of optimisation. Out: a `Code`, which owns the machine code and gives the
addresses of its functions, the time of each step, and on demand the optimised IR, the assembly and the object file. The
object code holds no address of this process: what a module needs from outside is named by a symbol, which is looked up
in `externals` (our own table, see `define_symbol`) and then in the process.

Levels: "minimal" is for code that is already explicit vectors and needs registers, folding and tidy branches only (for
15 fused nests 80 ms, of which the passes take 5; the pipeline of level "full" alone takes 150). "loops" tidies the
branches around them first; with the invariants, equal values and elements of arrays that the graph's own passes have
moved, LLVM's O1 makes code that is no faster, in three times the time. "unrolled" is that with several iterations at
once, for loops that hand numbers on: those need not be moved to other registers. "full" is O1 with both
vectorisers of loops, for loops over scalars that a user wrote; O2 takes a sixth longer and finds nothing more in them.
"short" is that with one vector at a time. "quick" is for what is short or rarely run: no passes, but a code generator
that takes a quarter of the time, and makes code that is some nanoseconds slower a call.

This room refuses to know what the code does. `specialisation` and `runtime` call it. It leaves no option of LLVM set,
for other users of llvmlite in the process would get it too.
"""

from __future__ import annotations

import ctypes
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial

import llvmlite
import llvmlite.binding as llvm

from jitgrad.errors import error

__all__ = [
    "LEVELS",
    "Code",
    "Host",
    "Timing",
    "compile_module",
    "define_late",
    "define_on_demand",
    "define_symbol",
    "host",
    "load_object",
    "resolve",
]

LEVELS = ("minimal", "loops", "unrolled", "short", "full", "quick")

# One compile at a time: llvmlite's own lock covers single calls only, and the symbol table of LLVM is global.
_LOCK = threading.RLock()

# Features of x86 that imply all others which code of ours is made of.
_WORTH_NAMING = frozenset({"+avx2", "+avx512bw", "+avx512dq", "+avx512vl", "+bmi2", "+fma", "+lzcnt", "+popcnt"})

# Passes of the code generator that find nothing in code of ours, or nothing that makes it faster.
_CODE_GENERATION = {
    # `counters` has written loops such that there is nothing to be found in them; to look takes a quarter of all time.
    "disable-lsr": 1,
    # Values are computed near their use, and processors that are worth it take what is ready.
    "enable-misched": 0,
    # Our choices are selections where they should be, and branches where they should be.
    "disable-select-optimize": 1,
}

# A prefix of our own, so that no name of another library in the process is ever redefined.
PREFIX = "jg_"

# What finds the address of an external that is first looked for when a module needs it.
_LATE: dict[str, Callable[[], int]] = {}


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds that each step of a compile took."""

    parse_ms: float
    optimise_ms: float
    codegen_ms: float

    @property
    def total_ms(self) -> float:
        """All steps together."""
        return self.parse_ms + self.optimise_ms + self.codegen_ms


@dataclass(frozen=True, slots=True)
class Host:
    """The processor that code is made for."""

    triple: str
    cpu: str
    features: str


@lru_cache(maxsize=1)
def host() -> Host:
    """Return the processor of this machine, starting LLVM's code generator at the first call."""
    if tuple(int(re.match(r"\d+", part)[0]) for part in llvmlite.__version__.split(".")[:2]) < (0, 45):  # type: ignore[index]
        llvm.initialize()  # not needed and refused by newer versions
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # The first engine opens the process itself for look-ups; `resolve` needs that before any other is made.
    target = llvm.Target.from_triple(llvm.get_process_triple())
    llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.create_target_machine(jit=True)).close()
    features = llvm.get_host_cpu_features().flatten()
    return Host(llvm.get_process_triple(), llvm.get_host_cpu_name(), features)


def define_symbol(name: str, address: int) -> None:
    """Give emitted code an external of ours.

    Parameters
    ----------
    name : str
        Begins with `jg_`; it holds for the whole process and may be defined again only as the same address.
    address : int
    """
    if not name.startswith(PREFIX) or not address:
        raise error("JG900", what=f"the external symbol {name} cannot be defined as {address:#x}")
    host()
    with _LOCK:
        known = llvm.address_of_symbol(name)
        if known is not None and known != address:
            raise error("JG900", what=f"the external symbol {name} is defined twice")
        llvm.add_symbol(name, address)


def define_on_demand(names: Sequence[str], emit: Callable[[], str], *, level: str = "quick") -> None:
    """Give emitted code external functions of ours that are compiled once a process, when a module declares one.

    Parameters
    ----------
    names : sequence of str
        Each begins with `jg_`.
    emit : callable
        Returns the text of a module that defines the functions and needs no other external that is compiled on demand.
    level : str
    """

    @lru_cache(maxsize=1)
    def compiled() -> dict[str, int]:
        code = compile_module(emit(), level=level)
        found = {name: code.address(name) for name in names}
        code.keep_for_ever()
        return found

    def find(name: str) -> int:
        return compiled()[name]

    for name in names:
        define_late(name, partial(find, name))


def define_late(name: str, find: Callable[[], int]) -> None:
    """Give emitted code an external function of ours whose address is asked for when a module declares it.

    Parameters
    ----------
    name : str
        Begins with `jg_`.
    find : callable
        Returns the address; called once a process.
    """
    assert name.startswith(PREFIX), name
    _LATE[name] = find


def _have(name: str) -> bool:
    """Whether a symbol can be found; one that is defined late is defined now."""
    if llvm.address_of_symbol(name):
        return True
    if name not in _LATE:
        return False
    define_symbol(name, _LATE[name]())
    return True


class Code:
    """Loaded machine code; its functions live as long as this object.

    Attributes
    ----------
    timing : Timing
    level : str
    """

    def __init__(self, engine: llvm.ExecutionEngine, timing: Timing, level: str, ir: str) -> None:
        self._engine = engine
        self.timing = timing
        self.level = level
        self._ir = ir

    def address(self, name: str) -> int:
        """Return the address of a function or global variable that the module defines.

        Raises
        ------
        InternalError
            JG900 if the module has no such symbol.
        """
        found: int = self._engine.get_function_address(name) or self._engine.get_global_value_address(name)
        if not found:
            raise error("JG900", what=f"the compiled module does not define {name}")
        return found

    def keep_for_ever(self) -> None:
        """Never free the code: for functions that the interpreter may call while it shuts down."""
        self._engine.detach()

    def ir(self) -> str:
        """Return the IR as it was given ("" for code loaded from an object file)."""
        return self._ir

    def optimised_ir(self) -> str:
        """Return the IR after the passes; runs them again, for to keep it would cost every compile."""
        return str(_optimised(self._ir, self.level)[0])

    def assembly(self) -> str:
        """Return the machine code as text; compiles again."""
        with _LOCK:
            module, machine = _optimised(self._ir, self.level)
            with _options(_CODE_GENERATION):
                text: str = machine.emit_assembly(module)
        return text

    def object_code(self) -> bytes:
        """Return the relocatable object file, which `load_object` takes; compiles again."""
        with _LOCK:
            return _object_of(*_optimised(self._ir, self.level))


def compile_module(
    ir: str,
    *,
    level: str = "full",
    externals: Mapping[str, int] | None = None,
    helpers: Mapping[str, str] | None = None,
) -> Code:
    """Compile the text of a module and load it.

    Parameters
    ----------
    ir : str
    level : {'minimal', 'loops', 'unrolled', 'short', 'full', 'quick'}
    externals : mapping of str to int, optional
        Symbols to define first, see `define_symbol`.
    helpers : mapping of str to str, optional
        Internal functions in the text that do not refer to others of it, by names which stand for that text in the
        whole process: they are compiled once, with the module that comes first.

    Raises
    ------
    InternalError
        JG900 for text that is not valid IR, or names a symbol that is nowhere. (LLVM itself would end the process.)
    """
    for name, address in (externals or {}).items():
        define_symbol(name, address)
    with _LOCK:
        # Where LLVM looks for vectors, it should see into what loops call.
        text, defined = _sharing(ir, helpers) if helpers and level not in ("short", "full") else (ir, [])
        engine, timing = _made(text, level)
        for name in defined:
            define_symbol(name, engine.get_function_address(name))
        if defined:
            # Other code calls into it until the process ends.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))
    return Code(engine, timing, level, ir)


def _made(
    text: str, level: str, keep: Callable[[llvm.ModuleRef, bytes], None] | None = None
) -> tuple[llvm.ExecutionEngine, Timing]:
    """Return an engine with the machine code of a module's text, and how long each step took.

    Who wants to load the code again gives `keep`, which gets the optimised module and its object file.
    """
    start = time.perf_counter()
    module, machine = _parsed(text, level)
    parsed = time.perf_counter()
    module = _optimise(module, machine, level, text)
    resolve(module)
    optimised = time.perf_counter()
    data = _object_of(module, machine)
    if keep is not None:
        keep(module, data)
    engine = _loaded(data)
    done = time.perf_counter()
    return engine, Timing((parsed - start) * 1e3, (optimised - parsed) * 1e3, (done - optimised) * 1e3)


def _sharing(ir: str, helpers: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return a module's text that declares the helpers which are there, and the names of those that it defines."""
    host()
    defined: list[str] = []
    for name, text in helpers.items():
        head, start, body = text.partition(" {\nentry:\n")
        if llvm.address_of_symbol(name):
            ir = ir.replace(text, head.replace("define internal", "declare", 1))
        else:
            defined.append(name)
            ir = ir.replace(text, head.replace("define internal", "define", 1) + start + body)
    return ir, defined


def load_object(data: bytes) -> Code:
    """Load an object file that `Code.object_code` gave on a host of the same kind.

    Externals must have been defined before; an object file that is not trusted must not come here.
    """
    with _LOCK:
        start = time.perf_counter()
        for name in _LATE:
            _have(name)
        engine = _loaded(data)
        done = time.perf_counter()
    return Code(engine, Timing(0.0, 0.0, (done - start) * 1e3), "object", "")


@lru_cache(maxsize=1)
def _named_features() -> str:
    """Return what LLVM must be told of this processor beside its name.

    Each feature is looked up, with all that it implies, several times a module: to name a hundred takes longer than to
    make the code of a short function. What a processor of a known name has goes without saying; what this one lacks
    does not, nor what code of ours is better for should the name stand for less.
    """
    at = host()
    if not at.triple.startswith("x86_64") or at.cpu in ("", "generic") or at.cpu.startswith("x86-64"):
        return at.features
    return ",".join(f for f in at.features.split(",") if f.startswith("-") or f in _WORTH_NAMING)


def _machine(level: str) -> llvm.TargetMachine:
    """Return the target machine of a level: what it knows of the processor takes longer than to make short code."""
    return _machine_for(host().cpu, _named_features(), 0 if level == "quick" else 1)


@lru_cache(maxsize=2)
def _machine_for(cpu: str, features: str, opt: int) -> llvm.TargetMachine:
    return _new_machine(cpu, features, opt)


def _new_machine(cpu: str, features: str, opt: int) -> llvm.TargetMachine:
    target = llvm.Target.from_triple(host().triple)
    # The code model "jitdefault" reaches any address: sections and libraries may lie far apart.
    return target.create_target_machine(
        cpu=cpu, features=features, opt=opt, reloc="default", codemodel="jitdefault", jit=True
    )


def _object_of(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> bytes:
    with _options(_CODE_GENERATION):
        data: bytes = machine.emit_object(module)
    return data


def _loaded(data: bytes) -> llvm.ExecutionEngine:
    """Return an engine with the code of an object file.

    An engine takes the machine that it is given for its own. This one makes no code, so that any will do.
    """
    module = llvm.parse_assembly("")
    engine = llvm.create_mcjit_compiler(module, _new_machine("", "", 0))
    engine.remove_module(module)
    engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    return engine


def _parsed(ir: str, level: str) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    machine = _machine(level)
    try:
        module = llvm.parse_assembly(ir)
        module.triple = host().triple
        module.data_layout = str(machine.target_data)
        module.verify()
    except RuntimeError as failure:
        made = error("JG900", what=f"the emitted code is not valid: {failure}")
        made.add_note(ir)
        raise made from None
    return module, machine


def _optimised(ir: str, level: str) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    if not ir:
        raise error("JG900", what="code loaded from an object file has no IR")
    with _LOCK:
        module, machine = _parsed(ir, level)
        return _optimise(module, machine, level, ir), machine


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine, level: str, ir: str) -> llvm.ModuleRef:
    """Optimise a module; return it, or one made anew of its text where LLVM's passes broke it."""
    _run_passes(module, machine, level)
    try:
        module.verify()
    except RuntimeError:
        # A pass of LLVM 22 joins vectors in some programs such that one is used before it is there; making code of that
        # would end the process.
        module, machine = _parsed(ir, level)
        _run_passes(module, machine, "minimal")
    return module


def _run_passes(module: llvm.ModuleRef, machine: llvm.TargetMachine, level: str) -> None:
    if level not in LEVELS:
        raise error("JG900", what=f"there is no level of optimisation {level!r}")
    if level == "quick":
        return
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = level in ("short", "full")
    options.loop_unrolling = level in ("unrolled", "short", "full")
    options.loop_interleaving = level == "full"
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    if level == "short":
        builder.getModulePassManager().run(module, builder)
        return
    if level == "full":
        # Loops that add up floats in order may compute what they add as vectors.
        with _options({"force-ordered-reductions": 1}):
            builder.getModulePassManager().run(module, builder)
        return
    passes = llvm.create_new_module_pass_manager()
    if level == "minimal":
        passes.add_sroa_pass()
        passes.add_instruction_combine_pass()
    else:
        passes.add_always_inliner_pass()
        passes.add_global_dead_code_eliminate_pass()
        passes.add_sroa_pass()
        passes.add_simplify_cfg_pass()
        if level == "unrolled":
            passes.add_loop_rotate_pass()
        # It takes half of all time: once, for all that the others leave.
        passes.add_instruction_combine_pass()
        if level == "unrolled":
            passes.add_loop_unroll_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)


@contextmanager
def _options(changed: Mapping[str, int]) -> Iterator[None]:
    """Change switches of LLVM's, which are the whole process's, for a while."""
    for name, value in changed.items():
        llvm.set_option("", f"-{name}={value}")
    try:
        yield
    finally:
        for name, value in changed.items():
            llvm.set_option("", f"-{name}={1 - value}")


def resolve(module: llvm.ModuleRef) -> None:
    """Define what a module needs on demand, and raise for what cannot be found: the linker would end the process."""
    host()
    for kind in (module.functions, module.global_variables):
        for value in kind:
            if value.is_declaration and not value.name.startswith("llvm.") and not _have(value.name):
                raise error("JG900", what=f"the external symbol {value.name} is nowhere to be found")
