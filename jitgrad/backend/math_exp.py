"""The exponential family as lanes of LLVM IR: exp, exp2, expm1, sinh, cosh, tanh.

In: a `Writer` and operands. Out: the result's `Lanes`; every routine is free of branches and of tables. This room knows
nothing of dtypes beyond `Writer.single`, of modules, or of who calls.

Method: x = k ln2 + r with |r| <= ln2/2, ln2 in two parts whose first times k is exact (Cody and Waite, Software Manual
for the Elementary Functions, 1980); a polynomial for e**r; scaling by 2**k in two exact steps so that results which
are subnormal round once. The polynomials are minimax in the sense of the Remez exchange algorithm (Muller, Elementary
Functions, chapter 3), found with 60 digits and rounded to double; the errors quoted are before that rounding.
"""

from __future__ import annotations

from jitgrad.backend.math_lanes import Lanes, Writer

__all__ = [
    "EXP_TAIL",
    "EXP_TAIL_SINGLE",
    "LN2",
    "LN2_HIGH",
    "LN2_LOW",
    "LOG2_E",
    "SINH_TAIL",
    "TANH_TAIL",
    "TINY",
    "cosh",
    "exp",
    "exp2",
    "exp_in_parts",
    "expm1",
    "fraction",
    "plain",
    "quarter_exp",
    "reduce",
    "sinh",
    "tanh",
    "two_scales",
]

LOG2_E = 1.4426950408889634
LN2 = 0.6931471805599453
# ln2: 32 bits, so that its product with any k < 2**21 is exact, and the rest.
LN2_HIGH = 0.6931471803691238
LN2_LOW = 1.9082149292705877e-10

# (e**r - 1 - r) / r**2 on [-ln2/2, ln2/2], minimax relative to e**r: error 2**-57.9, and 2**-34.2 for float32.
EXP_TAIL = (
    0.5000000000000011,
    0.1666666666666641,
    0.041666666666529725,
    0.008333333333494975,
    0.0013888888943760546,
    0.00019841269505780121,
    2.4801492949053334e-05,
    2.75575867983557e-06,
    2.7630306452600815e-07,
    2.5000020535430475e-08,
)
EXP_TAIL_SINGLE = (
    0.5000000067840175,
    0.16666665867010425,
    0.04166629436334946,
    0.008333497339981547,
    0.001394470364487531,
    0.00019790298765320118,
)

# (sinh(x) / x - 1) / x**2 as a polynomial in x**2 on |x| <= 1, minimax relative to sinh: error 2**-63.3.
SINH_TAIL = (
    0.16666666666666669,
    0.008333333333333148,
    0.00019841269841432276,
    2.7557319156938335e-06,
    2.5052123158824906e-08,
    1.6057257984261411e-10,
    7.758804741756862e-13,
)

# (tanh(x) / x - 1) / x**2 as a polynomial in x**2 on |x| <= 0.55, minimax relative to tanh: error 2**-60.6.
TANH_TAIL = (
    -0.333333333333333,
    0.13333333333326558,
    -0.053968253963722936,
    0.021869488384746706,
    -0.008863232582761714,
    0.0035920918366103755,
    -0.001455541564553275,
    0.0005884390787077355,
    -0.000233367460653377,
    8.329573775535947e-05,
    -1.9481599564110062e-05,
)

# Below this a function with f(x) = x + O(x**2) rounds to x; taking x itself keeps the sign of zero too.
TINY = 2.0**-54


def reduce(w: Writer, x: Lanes) -> tuple[Lanes, Lanes]:
    """Return k (as bits) and r, x = k ln2 + r, for |x| < 2**20; the absolute error of r is about 2**-55."""
    k, k_bits = w.nearest_multiple(x, LOG2_E)
    return k_bits, w.multiply_add(k, -LN2_LOW, w.multiply_add(k, -LN2_HIGH, x))


def fraction(w: Writer, r: Lanes) -> Lanes:
    """Return e**r - 1 for |r| <= ln2/2, to 2**-54 absolutely."""
    return w.multiply_add(r * r, w.polynomial(r, EXP_TAIL_SINGLE if w.single else EXP_TAIL), r)


def plain(w: Writer, x: Lanes) -> Lanes:
    """Return e**x where 2**-1022 < e**x < 2**1023."""
    k_bits, r = reduce(w, x)
    scale = w.power_of_two(k_bits)
    return w.multiply_add(scale, fraction(w, r), scale)


def two_scales(w: Writer, k_bits: Lanes, small: Lanes) -> tuple[Lanes, Lanes]:
    """Return two factors whose product is 2**k, though 2**k itself may be no double.

    They are 2**(k-1) and 2, or, where the result may be subnormal, 2**(k+63) and 2**-63. `k_bits` hold k + 2046: the
    exponent field of the first factor is that less the exponent field of the second.
    """
    rest = w.select(small, 2.0**-63, 2.0)
    return ((k_bits << 52) - rest.bits()).double(), rest


def exp(w: Writer, x: Lanes) -> Lanes:
    """Return e**x."""
    if w.single:
        # The results of float32 are normal doubles; the exit rounds them to subnormal, zero or infinity.
        return plain(w, w.at_most(w.at_least(x, -300.0), 300.0))
    # Beyond these ends the result is 0 or infinity, which the scaling then gives.
    x = w.at_most(w.at_least(x, -746.0), 710.0)
    k, k_bits = w.nearest_multiple(x, LOG2_E, 2046.0)
    r = w.multiply_add(k, -LN2_LOW, w.multiply_add(k, -LN2_HIGH, x))
    scale, rest = two_scales(w, k_bits, x < -707.0)
    return w.multiply_add(scale, fraction(w, r), scale) * rest


def exp_in_parts(w: Writer, high: Lanes, low: Lanes) -> tuple[Lanes, Lanes, Lanes, Lanes]:
    """Return (r, tail, scale, rest) with e**(high + low) = (1 + r + tail) * scale * rest.

    Multiply by `rest` last: that product may round to subnormal, overflow or vanish. `low` must be below 2**-30 in
    magnitude wherever `high` is within [-746, 710]; beyond that it is ignored.
    """
    low = w.select(high.magnitude() < 760.0, low, 0.0)
    high = w.at_most(w.at_least(high, -746.0), 710.0)
    k, k_bits = w.nearest_multiple(high, LOG2_E, 2046.0)
    first = w.multiply_add(k, -LN2_HIGH, high)
    second = w.multiply_add(k, -LN2_LOW, low)
    r = first + second
    lost = second - (r - first)
    scale, rest = two_scales(w, k_bits, high < -707.0)
    return r, w.multiply_add(r * r, w.polynomial(r, EXP_TAIL), lost), scale, rest


def exp2(w: Writer, x: Lanes) -> Lanes:
    """Return 2**x; exact for integers."""
    if w.single:
        x = w.at_most(w.at_least(x, -400.0), 400.0)
        k, k_bits = w.nearest(x)
        scale = w.power_of_two(k_bits)
        return w.multiply_add(scale, fraction(w, (x - k) * LN2), scale)
    # 1024.4 overflows and is rounded to 1024, for which there are two scales.
    x = w.at_most(w.at_least(x, -1080.0), 1024.4)
    k, k_bits = w.nearest_multiple(x, 1.0, 2046.0)
    scale, rest = two_scales(w, k_bits, x < -1020.0)
    return w.multiply_add(scale, fraction(w, (x - k) * LN2), scale) * rest


def expm1(w: Writer, x: Lanes) -> Lanes:
    """Return e**x - 1."""
    # 2**k (1 + r + tail) - 1, with the small parts added last; 2**(k-1) is a double for every k here.
    clamped = w.at_most(w.at_least(x, -60.0), 710.0)
    k, k_bits = w.nearest_multiple(clamped, LOG2_E)
    high = w.multiply_add(k, -LN2_HIGH, clamped)
    low = k * LN2_LOW
    r = high - low
    lost = (high - r) - low
    tail = w.multiply_add(r * r, w.polynomial(r, EXP_TAIL_SINGLE if w.single else EXP_TAIL), lost)
    half_scale = w.power_of_two(k_bits, -1)
    half = w.multiply_add(half_scale, r, half_scale - 0.5) + half_scale * tail
    return w.select(x.magnitude() < TINY, x, half + half)


def sinh(w: Writer, x: Lanes) -> Lanes:
    """Return the hyperbolic sine: a polynomial up to 1, then (e**x - e**-x) / 2."""
    magnitude = x.magnitude()
    quarter = quarter_exp(w, magnitude)
    large = quarter - 0.0625 / quarter
    z = x * x
    small = w.multiply_add(magnitude, z * w.polynomial(z, SINH_TAIL), magnitude)
    return w.select(magnitude < 1.0, small, large + large).with_sign(x.sign_bit())


def cosh(w: Writer, x: Lanes) -> Lanes:
    """Return the hyperbolic cosine."""
    quarter = quarter_exp(w, x.magnitude())
    half = quarter + 0.0625 / quarter
    return half + half


def quarter_exp(w: Writer, x: Lanes) -> Lanes:
    """Return e**x / 4 for x >= 0; its double overflows where sinh and cosh do."""
    k_bits, r = reduce(w, w.at_most(x, 710.7))
    scale = w.power_of_two(k_bits, -2)
    return w.multiply_add(scale, fraction(w, r), scale)


def tanh(w: Writer, x: Lanes) -> Lanes:
    """Return the hyperbolic tangent."""
    magnitude = x.magnitude()
    double_x = w.at_most(magnitude + magnitude, 80.0)
    if w.single:
        # t / (t + 2) with t = e**2x - 1 is accurate enough everywhere in double.
        k_bits, r = reduce(w, double_x)
        scale = w.power_of_two(k_bits)
        t = w.multiply_add(scale, fraction(w, r), scale - 1.0)
        return (t / (t + 2.0)).with_sign(x.sign_bit())
    # A polynomial up to 0.55, then 1 - 2 / (e**2x + 1), whose second term is below 1/2.
    large = 1.0 - 2.0 / (plain(w, double_x) + 1.0)
    z = x * x
    small = w.multiply_add(magnitude, z * w.polynomial(z, TANH_TAIL), magnitude)
    return w.select(magnitude < 0.55, small, large).with_sign(x.sign_bit())
