"""Cotangents of primal values, and how one op without regions hands them on.

In: a frame of reverse code, an op of the primal, the cotangents of its results. Out: code in the frame that adds to the
cotangents of its operands. The forms of declared derivatives are told apart here and nowhere else. Cotangents that are
zero are not built until something must be handed on; loops and branches thread those of outer values through
(`reverse.py`). This room knows no op with regions.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from jitgrad.errors import error
from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.activity import derivative_operands
from jitgrad.graph.diff.cotangent import Cot, add_cots, apply_partial, down, mask_of, masked
from jitgrad.graph.diff.cut import Plan
from jitgrad.graph.diff.factors import matters, partials_of
from jitgrad.graph.diff.frames import Frame, Nest
from jitgrad.graph.diff.kinks import is_steep_norm, vjp_norm
from jitgrad.graph.diff.lists import LIST_OPS, add_lists, vjp_list, zero_list
from jitgrad.graph.diff.marks import mark, unmark, unused
from jitgrad.graph.diff.residuals import Residuals
from jitgrad.graph.diff.rules import mix_mask, move_mask, run_rule
from jitgrad.graph.diff.steep import Slopes
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.shape import broadcast_to, zeros
from jitgrad.graph.primitive import Linear, Masked, NoGradient, Partial, Partials, Rules
from jitgrad.graph.types import BOOL, ArrayType, Dim, ListType

__all__ = ["ReverseOps"]

# Ops that put a part into an array, and hand on a marked cotangent at the cost of the part.
_PARTS = frozenset({"addto", "scatter_add", "store"})

# Ops that choose among their operands.
_CHOICES = frozenset({"clip", "fmax", "fmin", "maximum", "minimum", "select", "where_used"})


class ReverseOps:
    """Reverses ops without regions.

    Parameters
    ----------
    g : Builder
        The builder of all reverse code.
    nest : Nest
        The primal.
    active : set of Value
        The primal values that need cotangents.
    slopes : Slopes
        Those whose cotangents need masks, those of them that are used in parts, and why they may be zero (`steep.py`).
    plan : Plan
        What to save.
    """

    def __init__(self, g: Builder, nest: Nest, active: set[Value], slopes: Slopes, plan: Plan) -> None:
        self.g = g
        self.nest = nest
        self.active = active
        self.steep, self.parted, self.factors = slopes
        # Whether zeros under masks may be products with factors that are 0, which move as these do.
        self.moving = bool(self.factors.unused)
        self.residuals = Residuals(nest, g, plan)

    # --- cotangents

    def current(self, frame: Frame, value: Value) -> Cot | None:
        """Return the cotangent of a value so far; loops on the way to where it is known carry it from now on."""
        found = frame.cots.get(value)
        if found is not None or frame.parent is None:
            return found
        home = self.nest.home.get(value)
        path = []
        for f in frame.outward():
            found = f.cots.get(value)
            if found is not None or f.forward is home or f.parent is None:
                break
            path.append(f)
        for f in reversed(path):
            if f.is_loop:
                assert f.parent is not None
                type = self.residuals.type_of(f.parent, value.type)
                found = self.carry(f, value, type, self.carried_mask(f, [value], type, found), value.name)
                f.cots[value] = found
        return found

    def carried_mask(self, loop: Frame, values: list[Value], type: Any, before: Cot | None) -> tuple[Dim, ...] | None:
        """Return the shape of the mask with which a loop carries a cotangent that is `before` when it enters.

        It is that of a captured value, or of two: a result of the loop and the argument of its body.
        """
        if not isinstance(type, ArrayType):
            return None
        if any(v in self.parted for v in values):
            return None
        replaced = self._replaced(loop, values)
        if before is not None and before.mask is None and not replaced:
            return None
        if loop.masked == "array":
            return type.shape
        if replaced and (before is None or before.mask is None):
            return ()
        if before is not None and before.mask is not None and before.mask.shape:
            return None
        # It stays a zero if the loop does not run, or not the branch in it that uses the value.
        return None if loop.sure and not loop.masked else ()

    def _replaced(self, loop: Frame, values: list[Value]) -> bool:
        """Return whether a body may make a new value of one that it carries, so that the cotangent is zero before."""
        if len(values) < 2 or not any(v in self.steep for v in values):
            return False
        argument = values[0]
        return argument not in self.active or any(
            op.regions or op.primitive.name in _CHOICES or op in self.factors.unused for op in loop.ops
        )

    def carry(self, frame: Frame, key: Any, type: Any, mask_shape: tuple[Dim, ...] | None, name: str) -> Cot:
        arg = frame.block.add_arg(type, f"{name}.ct" if name else "")
        mask = None if mask_shape is None else frame.block.add_arg(BOOL.with_shape(mask_shape))
        frame.carried.append((key, arg, mask))
        return Cot(arg, mask)

    def accumulate(self, frame: Frame, value: Value, cot: Cot, *, marked: bool = False) -> None:
        """Add to the cotangent of a primal value; that of a parted one is in the marked form already if `marked`."""
        if value in self.parted and not marked and not isinstance(value.type, ListType):
            cot = Cot(mark(self.g, cot, self.moving))
        prior = self.current(frame, value)
        if prior is not None:
            if isinstance(value.type, ListType):
                cot = Cot(add_lists(self.g, prior.value, cot.value))
            else:
                cot = add_cots(self.g, prior, cot)
        frame.cots[value] = cot
        if value.name and not cot.value.name and cot.value.op is not None:
            cot.value.name = f"{value.name}.ct"

    def zeros_for(self, frame: Frame, value: Value) -> Value:
        """Return zeros of the type (of a list: and the length) of a primal value."""
        type = self.residuals.type_of(frame, value.type)
        if isinstance(type, ArrayType):
            return unused(self.g, type) if value in self.parted else zeros(self.g, type)
        marked = value in self.parted
        items = self.residuals.at_hand(frame, value)
        if marked and items is not None:
            return zero_list(self.g, type, self.g.list_length(items), -0.0)
        if items is not None:
            return self.g.list_zeros(items)
        with self.nest.insert_after(value) as g:
            length = g.list_length(value)
        return zero_list(self.g, type, self.residuals.get(frame, length), -0.0 if marked else 0.0)

    # --- ops

    def op(self, frame: Frame, op: Op, cots: list[Cot | None]) -> None:
        """Hand the cotangents of an op's results on to its operands."""
        if len(op.results) > 1:
            given = zip(op.results, cots, strict=True)
            cots = [unmark(self.g, c.value) if c is not None and r in self.parted else c for r, c in given]
        elif op.results and op.result in self.parted:
            assert cots[0] is not None
            if op.primitive.name in _PARTS:
                self._part(frame, op, cots[0].value)
                return
            if not isinstance(op.result.type, ListType):
                cots = [unmark(self.g, cots[0].value)]
        derivative, active = op.primitive.derivative, self.active
        if isinstance(derivative, Partials):
            self._partials(frame, op, cots[0], [v in active for v in op.operands], derivative)
            return
        needed = [i for i in derivative_operands(op) if op.operands[i] in active]
        if not needed:
            return
        if op.name in LIST_OPS:
            self._list(frame, op, cots[0], needed)
        elif isinstance(derivative, Linear):
            self._linear(frame, op, cots[0], needed, derivative)
        elif isinstance(derivative, Rules):
            self._rules(frame, op, cots, needed, derivative)
        else:
            why = derivative.why if isinstance(derivative, NoGradient) else "it declares none"
            raise error("JG301", op.location, op=op.name, why=why)

    def _partials(self, frame: Frame, op: Op, cot: Cot | None, wanted: list[bool], derivative: Partials) -> None:
        assert cot is not None

        def rule(g: Builder, o: Op) -> list[Any]:
            partials = partials_of(g, derivative, op, o, self.factors)
            return [p if w else None for p, w in zip(partials, wanted, strict=True)]

        g = self.g
        made = run_rule(self.residuals, frame, op, rule)
        if len(made) == 1 and made[0] is not None:
            self._step(frame, op.operands[0], cot, made[0])
            return
        partials: dict[Value, list[Value | Masked | Partial]] = {}
        for operand, each in zip(op.operands, made, strict=True):
            if each is None:
                continue
            same = partials.setdefault(operand, [])
            if same and isinstance(each, Value) and isinstance(same[-1], Value):
                same[-1] = g.add(same[-1], each)  # x * x: one product with x + x
            else:
                same.append(each)
        for operand, same in partials.items():
            for each in same:
                self._step(frame, operand, cot, each)

    def _step(self, frame: Frame, operand: Value, cot: Cot, partial: Value | Masked | Partial) -> None:
        term = apply_partial(self.g, cot, partial, self.moving)
        if term is not None:
            shape = operand.shape if frame.parent is None else self.residuals.type_of(frame, operand.array).shape
            self.accumulate(frame, operand, down(self.g, term, shape))

    def _linear(self, frame: Frame, op: Op, cot: Cot | None, needed: list[int], derivative: Linear) -> None:
        assert cot is not None
        if op.name in ("load", "gather"):
            self._read(frame, op, cot)
            return
        for i in reversed(needed):  # a store's value is read from the cotangent before that part is zeroed
            transpose = partial(_transpose, derivative, i, cot.value)
            made = run_rule(self.residuals, frame, op, transpose)
            # A bool for all of the result is one for all of the operand.
            mask = cot.mask if cot.mask is None or not cot.mask.shape else self._moved(frame, op, i, cot.mask)
            if mask is None and cot.mask is not None and op.operands[i] in self.steep:
                mask = self._mixed(frame, op, i, cot.mask)
            found = Cot(made[0], mask)
            if op in self.factors.unused and i in self.factors.unused[op]:
                j = self.factors.unused[op][i]
                used = run_rule(self.residuals, frame, op, partial(_matters, op, i, j))[0]
                found = masked(self.g, found, used)
            self.accumulate(frame, op.operands[i], found)

    def _moved(self, frame: Frame, op: Op, i: int, mask: Value | None) -> Value | None:
        if mask is None or not (mask.shape or op.result.shape or op.operands[i].shape):
            return mask
        shape = self.residuals.type_of(frame, op.result.array)
        assert isinstance(shape, ArrayType)
        full = broadcast_to(self.g, mask, shape.shape)
        return run_rule(self.residuals, frame, op, lambda g, o: [move_mask(g, i, full, o)])[0]

    def _mixed(self, frame: Frame, op: Op, i: int, mask: Value) -> Value | None:
        return run_rule(self.residuals, frame, op, lambda g, o: [mix_mask(g, i, mask, o)])[0]

    def _read(self, frame: Frame, op: Op, cot: Cot) -> None:
        """Add to the part of an array's cotangent that was read: in place, at the cost of the part."""
        g, base = self.g, op.operands[0]
        ints = [self.residuals.get(frame, v) for v in op.operands[1:]]
        name = "addto" if op.name == "load" else "scatter_add"
        prior = self.current(frame, base)
        mask = None
        if base in self.parted:
            cot = Cot(mark(g, cot, self.moving))
        elif prior is not None and prior.mask is not None and not prior.mask.shape and base.shape:
            mask = None if cot.mask is None or cot.mask.shape else g.logical_or(prior.mask, cot.mask)
        elif cot.mask is not None and (prior is None or prior.mask is not None):
            mask = self._moved(frame, op, 0, cot.mask)
            if mask is not None and prior is not None and prior.mask is not None:
                mask = g.logical_or(prior.mask, mask)
        total = self.zeros_for(frame, base) if prior is None else prior.value
        frame.cots[base] = Cot(g.emit(name, [total, cot.value, *ints], op.attrs).result, mask)
        if base.name:
            frame.cots[base].value.name = f"{base.name}.ct"

    def _part(self, frame: Frame, op: Op, ct: Value) -> None:
        """Hand a marked cotangent on to the operands of an op that stores or adds a part."""
        g, (base, part) = self.g, op.operands[:2]
        ints = [self.residuals.get(frame, v) for v in op.operands[2:]]
        if part in self.active:
            read = g.emit("load" if op.name in ("store", "addto") else "gather", [ct, *ints], op.attrs).result
            if part in self.parted:
                self.accumulate(frame, part, Cot(read), marked=True)
            else:
                self.accumulate(frame, part, unmark(g, read))
        if base in self.active:
            if op.name == "store":
                nothing = unused(g, self.residuals.type_of(frame, part.type))
                ct = g.emit("store", [ct, nothing, *ints], op.attrs).result
            self.accumulate(frame, base, Cot(ct), marked=True)

    def _rules(self, frame: Frame, op: Op, cots: list[Cot | None], needed: list[int], derivative: Rules) -> None:
        wanted = set(needed)
        given: list[Cot | None] = []
        for cot, result in zip(cots, op.results, strict=True):
            if op.name == "scatter" and cot is not None and cot.mask is None and op.operands[0] in self.steep:
                # What is stored over gets a zero that must be told from others.
                cot = Cot(cot.value, mask_of(self.g, cot, self.residuals.type_of(frame, result.array).shape))
            if cot is not None and cot.mask is not None and cot.mask.shape != result.shape:
                shape = self.residuals.type_of(frame, result.array).shape
                cot = Cot(cot.value, broadcast_to(self.g, cot.mask, shape))
            given.append(cot)

        def rule(g: Builder, o: Op) -> list[Any]:
            if given[0] is not None and is_steep_norm(op, self.steep, self.factors.minima.whole):
                return [vjp_norm(g, o, given[0])]
            return [made if i in wanted else None for i, made in enumerate(derivative.vjp(g, o, given, wanted))]

        for i, made in enumerate(run_rule(self.residuals, frame, op, rule)):
            if made is not None:
                self.accumulate(frame, op.operands[i], made)

    def _list(self, frame: Frame, op: Op, cot: Cot | None, needed: list[int]) -> None:
        assert cot is not None
        g = self.g

        def get(v: Value) -> Value:
            return self.residuals.get(frame, v)

        for i in reversed(needed):
            operand = op.operands[i]
            if op.name == "list_get":
                prior = self.current(frame, operand)
                total = self.zeros_for(frame, operand) if prior is None else prior.value
                added = mark(g, cot, self.moving) if operand in self.parted else cot.value
                frame.cots[operand] = Cot(g.list_addto(total, get(op.operands[1]), added))
                continue
            into, of_list = operand in self.parted, isinstance(op.result.type, ListType)
            ct = mark(g, cot, self.moving) if into and not of_list else cot.value
            made = vjp_list(g, op, ct, i, get, lambda v: self.zeros_for(frame, v), -0.0 if into else 0.0)
            marked = of_list and op.result in self.parted
            if marked and not into and not isinstance(operand.type, ListType):
                self.accumulate(frame, operand, unmark(g, made))
            else:
                self.accumulate(frame, operand, Cot(made), marked=marked)


def _transpose(derivative: Linear, i: int, ct: Value, g: Builder, op: Op) -> list[Value]:
    return [derivative.transpose(g, i, ct, op)]


def _matters(source: Op, i: int, j: int, g: Builder, op: Op) -> list[Value]:
    return [matters(g, source, op, i, j)]
