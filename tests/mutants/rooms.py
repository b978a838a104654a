"""Which tests look at which room of the package, in the order in which they are worth running: cheap and near first."""

from __future__ import annotations

from pathlib import Path

__all__ = ["NET", "ROOMS", "near_tests"]

# Keys are paths below `jitgrad/`; the longest that a file's path starts with is its room.
ROOMS: dict[str, tuple[str, ...]] = {
    "": ("test_smoke.py", "test_deciding_sizes.py", "test_argument_sizes.py", "test_api.py", "test_bound_calls.py"),
    "backend/": (
        "backend/test_margins.py",
        "backend/test_bufferise.py",
        "backend/test_joint_stores.py",
        "backend/test_independence.py",
        "backend/test_precedence.py",
        "backend/test_products.py",
        "graph/test_roundings.py",
        "graph/test_recurrences.py",
        "test_smoke.py",
        "backend/test_emit.py",
        "backend/test_lower.py",
        "programs/test_small.py",
    ),
    "backend/emit_small.py": ("backend/test_small_products.py",),
    "backend/emit_systems.py": ("graph/test_registry.py", "trace/test_systems.py"),
    "graph/diff/": (
        "graph/test_masks.py",
        "graph/test_sums.py",
        "graph/test_cut.py",
        "graph/test_roundings.py",
        "graph/test_recurrences.py",
        "graph/test_tapes.py",
        "graph/test_packing.py",
        "graph/test_adjoint.py",
        "graph/test_tangent.py",
        "programs/test_small.py",
        "graph/test_conventions.py",
        "test_minima.py",
        "test_finite_slopes.py",
        "test_zero_factors.py",
        "test_untaken_paths.py",
        "graph/test_diff_programs.py",
        "graph/test_golden.py",
    ),
    "graph/ops/": (
        "graph/test_conventions.py",
        "graph/test_adjoint.py",
        "graph/test_registry.py",
        "graph/test_diff_programs.py",
    ),
    "graph/ops/systems.py": ("graph/test_registry.py", "trace/test_systems.py"),
    "graph/passes/": (
        "graph/test_passes.py",
        "graph/test_places.py",
        "graph/test_rows.py",
        "graph/test_loops_of_elements.py",
        "graph/test_packing.py",
        "graph/test_rows_around_loops.py",
        "graph/test_ahead.py",
        "graph/test_round_trips.py",
        "graph/test_jam.py",
        "graph/test_survey.py",
        "graph/test_roundings.py",
        "graph/test_unmarked.py",
        "graph/test_batch.py",
        "graph/test_golden.py",
        "programs/test_small.py",
        "graph/test_dependence.py",
        "graph/test_split.py",
        "graph/test_components.py",
        "graph/test_layout.py",
        "graph/test_recurrences.py",
        "graph/test_diff_programs.py",
    ),
    "trace/": (
        "test_smoke.py",
        "trace/test_changed_lists.py",
        "trace/test_iterators.py",
        "trace/test_generators.py",
        "trace/test_lazy_iterators.py",
        "trace/test_arrays_from_outside.py",
        "trace/test_instances.py",
        "trace/test_alternatives.py",
        "trace/test_identity.py",
        "trace/test_carried.py",
        "trace/test_columns.py",
        "test_layouts.py",
        "test_failing_calls.py",
        "trace/test_run_time_sizes.py",
        "trace/test_builtins.py",
        "trace/test_statements.py",
        "trace/test_numpy_shapes.py",
        "trace/test_numpy_reductions.py",
        "trace/test_numpy_elementwise.py",
        "test_runtime_errors.py",
    ),
}

# The wider net, where those find nothing: the bank, and random programs.
NET = ("programs/test_textbook.py", "programs/test_programs.py", "test_properties.py", "test_second_order.py")


def near_tests(file: str) -> tuple[str, ...]:
    """Return the tests of a file below `jitgrad/`: those of its name, if any, and those of its room."""
    own = f"{Path(file).parts[0]}/test_{Path(file).stem}.py"
    near = ROOMS[max((room for room in ROOMS if file.startswith(room)), key=len)]
    return (own, *(t for t in near if t != own)) if (Path(__file__).parents[1] / own).exists() else near
