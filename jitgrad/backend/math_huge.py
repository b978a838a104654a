"""The remainder of huge numbers modulo pi/2, as lanes of LLVM IR: the rare branch of sin, cos and tan.

In: operands, the lanes that are huge, and the remainders found so far, wrong in those lanes. Out: right remainders in
all lanes. The only table of these rooms is here, 160 bytes of 2/pi. This room knows nothing of sines.

Method: Payne and Hanek (Radian reduction for trigonometric functions, 1983; Muller, Elementary Functions, chapter 11).
x = m 2**e with m of 53 bits. Bits of 2/pi so high that m 2**e times them is a multiple of 4 are left out, and 192 bits
from there suffice: x 2/pi modulo 4 has an error of 2**-137, and no double but 0 comes closer to a multiple of pi/2 than
about 2**-61. The C library is not asked: glibc's is 8 units in the last place off at the worst operand.
"""

from __future__ import annotations

from functools import partial

from jitgrad.backend.engine import define_on_demand
from jitgrad.backend.math_lanes import NAN, Lanes, Writer

__all__ = ["reduce_huge"]

HALF_PI, HALF_PI_REST = 1.5707963267948966, 6.123233995736766e-17

# The first 1216 bits after the point of 2/pi, computed with mpmath.
TWO_OVER_PI_BITS = (
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424d"
    "d2e006492eea09d1921cfe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639"
    "835339f49c845f8bbdf9283b1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b74f46"
    "3f669e5fea2d7527bac7ebe5f17b3d0739f78a5292ea6bfb5fb11f8d5d0856033046fc7b6bab"
)
# 64 zeros stand before them, so that small exponents need no case of their own.
WORDS = [0, *(int(TWO_OVER_PI_BITS[i : i + 16], 16) for i in range(0, len(TWO_OVER_PI_BITS), 16))]
# Operands have an exponent field of 1043 (HUGE) to 2047 (infinity and NaN, whose result is replaced).
FIRST_BIT_OF_FIELD = 1013
LAST_START = 2047 - FIRST_BIT_OF_FIELD
assert len(WORDS) > LAST_START // 64 + 3

# With fused multiply-add and without. Compiled once a process, for every sine needs it and hardly any runs it.
REDUCE = {True: "@jg_reduce_huge_fma", False: "@jg_reduce_huge"}


def reduce_huge(w: Writer, x: Lanes, huge: Lanes, found: tuple[Lanes, Lanes, Lanes]) -> tuple[Lanes, Lanes, Lanes]:
    """Return (high, low, q), x = high + low + q pi/2, taken from `found` where a lane is not huge.

    Must be called in the first block of the function, and once.
    """
    w.needed.add(f"declare void {REDUCE[w.has_fma]}(ptr, i64)")
    if w.width == 1:
        any_huge = huge
    else:
        reduce_or = f"@llvm.vector.reduce.or.v{w.width}i1"
        w.needed.add(f"declare i1 {reduce_or}({w.types['b']})")
        any_huge = w.emit(f"call i1 {reduce_or}({w.types['b']} {huge.text})", "b")
    # Through memory, so that one function serves every width and dtype.
    w.lines += [
        f"  %buffer = alloca [{3 * w.width} x double], align 8",
        f"  br i1 {any_huge.text}, label %slow, label %done",
        "slow:",
        f"  store {w.types['f']} {x.text}, ptr %buffer, align 8",
        f"  call void {REDUCE[w.has_fma]}(ptr %buffer, i64 {w.width})",
    ]
    merged = []
    for part, (kind, before) in enumerate(zip("ffi", found, strict=True)):
        w.lines.append(f"  %part{part} = getelementptr double, ptr %buffer, i64 {part * w.width}")
        after = w.emit(f"load {w.types[kind]}, ptr %part{part}, align 8", kind)
        # A lane's result must not depend on its neighbours: those that are not huge keep what was found.
        merged.append(w.select(huge, after, before))
    w.lines += ["  br label %done", "done:"]
    high, low, q = (
        w.emit(f"phi {w.types[after.kind]} [ {before.text}, %entry ], [ {after.text}, %slow ]", after.kind)
        for before, after in zip(found, merged, strict=True)
    )
    return high, low, q


def _reduce_module(fma: bool) -> str:
    """Return a module with the loop over n doubles; it is defined for every operand, right for the huge ones.

    In place of the operands it leaves the upper terms of the remainders, behind them the lower ones, then the integers.
    """
    w = Writer("float64", 1, fma)
    w.lines += [
        "  %i = phi i64 [ 0, %entry ], [ %next, %loop ]",
        "  %at.high = getelementptr double, ptr %buffer, i64 %i",
        "  %x = load double, ptr %at.high",
    ]
    x = Lanes(w, "%x", "f")
    bits = x.bits()
    field = (bits >> 52) & 0x7FF
    m = (bits & ((1 << 52) - 1)) | (1 << 52)
    start = field - FIRST_BIT_OF_FIELD
    start = w.select(start < 0, 0, start)
    w.lines.append(f"  %word0 = getelementptr i64, ptr @jg_two_over_pi, i64 {(start >> 6).text}")
    w.lines += [f"  %word{i} = getelementptr i64, ptr %word0, i64 {i}" for i in (1, 2, 3)]
    words = [w.emit(f"load i64, ptr %word{i}", "i") for i in range(4)]
    shift = start & 63
    first, second, third = (
        w.emit(f"call i64 @llvm.fshl.i64(i64 {words[i].text}, i64 {words[i + 1].text}, i64 {shift.text})", "i")
        for i in range(3)
    )
    # The upper 128 of the product's 192 bits, as two words; the binary point is after two bits.
    w.lines += [
        f"  %m = zext i64 {m.text} to i128",
        f"  %w1 = zext i64 {second.text} to i128",
        f"  %w2 = zext i64 {third.text} to i128",
        "  %p2.full = mul i128 %m, %w2",
        "  %p2 = lshr i128 %p2.full, 64",
        "  %p1 = mul i128 %m, %w1",
        "  %sum = add i128 %p1, %p2",
        "  %sum.up = lshr i128 %sum, 64",
    ]
    top = w.emit("trunc i128 %sum.up to i64", "i") + w.emit(f"mul i64 {m.text}, {first.text}", "i")
    bottom = w.emit("trunc i128 %sum to i64", "i")
    # q is the nearest integer; what is left is a signed fraction of 126 bits, exactly three doubles of 42.
    q = (top + (1 << 61)) >> 62
    fraction, fraction_low = (top << 2) | (bottom >> 62), bottom << 2
    part = (1 << 42) - 1
    parts = [
        w.emit(f"ashr i64 {fraction.text}, 22", "i"),
        ((fraction << 20) | (fraction_low >> 44)) & part,
        (fraction_low >> 2) & part,
    ]
    high, middle, low = (
        w.emit(f"sitofp i64 {value.text} to double", "f") * 2.0 ** (-42 * (i + 1)) for i, value in enumerate(parts)
    )
    high, lost = w.fast_two_sum(high, middle)
    high, low = w.fast_two_sum(high, lost + low)
    product, product_low = w.two_product(high, w.constant(HALF_PI))
    product_low = product_low + (high * HALF_PI_REST + low * HALF_PI)
    r, r_low = w.fast_two_sum(product, product_low)
    # Both r and q are odd in x.
    negative = bits < 0
    r, r_low = w.select(negative, -r, r), w.select(negative, -r_low, r_low)
    q = w.select(negative, w.constant(0, "i") - q, q)
    r = w.select(field.equals(0x7FF), NAN, r)
    w.lines += [
        "  %at.low = getelementptr double, ptr %at.high, i64 %n",
        "  %at.q = getelementptr double, ptr %at.low, i64 %n",
        f"  store double {r.text}, ptr %at.high",
        f"  store double {r_low.text}, ptr %at.low",
        f"  store i64 {q.text}, ptr %at.q",
        "  %next = add i64 %i, 1",
        "  %more = icmp ult i64 %next, %n",
        "  br i1 %more, label %loop, label %done",
    ]
    head = f"define void {REDUCE[fma]}(ptr %buffer, i64 %n) nounwind willreturn {{"
    function = "\n".join([head, "entry:", "  br label %loop", "loop:", *w.lines, "done:", "  ret void", "}"])
    listed = ", ".join(f"i64 {v}" for v in WORDS)
    table = f"@jg_two_over_pi = private unnamed_addr constant [{len(WORDS)} x i64] [{listed}]"
    return "\n".join([table, *sorted(w.needed), "declare i64 @llvm.fshl.i64(i64, i64, i64)", function, ""])


for _fma, _name in REDUCE.items():
    define_on_demand([_name[1:]], partial(_reduce_module, _fma))
