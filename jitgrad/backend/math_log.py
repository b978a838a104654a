"""The logarithm family as lanes of LLVM IR: log, log1p, log2, log10, arcsinh, arccosh, arctanh, pow.

In: a `Writer` and operands. Out: the result's `Lanes`; every routine is free of branches and of tables. This room knows
nothing of dtypes beyond `Writer.single`, of modules, or of who calls.

Method: x = 2**k m with m in [sqrt(1/2), sqrt(2)); with f = m - 1 and s = f / (2 + f), log(m) = 2 atanh(s), whose series
in s**2 is short; it is summed as f - f**2/2 + s (f**2/2 + R), so that the rounding of s touches small terms only
(Muller, Elementary Functions, chapters 3 and 11). Where a plain double is not enough, for pow, the same series is
summed in pairs of doubles (Dekker). All polynomials are minimax, found by the Remez exchange algorithm.
"""

from __future__ import annotations

from jitgrad.backend.math_exp import LN2_HIGH, LN2_LOW, TINY, exp, exp_in_parts
from jitgrad.backend.math_lanes import INFINITY, NAN, Lanes, Pair, Writer, bits_of

__all__ = [
    "ARCSINH_TAIL",
    "ARCTANH_TAIL",
    "LOG_TAIL",
    "LOG_TAIL_LONG",
    "LOG_TAIL_SINGLE",
    "MANTISSA_MASK",
    "ONE_BITS",
    "SQRT_HALF_BITS",
    "UPPER_HALF_MASK",
    "arccosh",
    "arcsinh",
    "arctanh",
    "assemble",
    "at_ends",
    "decompose",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_in_halves",
    "log_of_sum",
    "log_pair",
    "log_tail",
    "power",
    "sum_with_root",
]

SQRT_HALF_BITS = bits_of(0.5**0.5)
ONE_BITS = bits_of(1.0)
MANTISSA_MASK = (1 << 52) - 1
# Keeps 26 bits of a double.
UPPER_HALF_MASK = -(1 << 27)

# 1/ln2 and 1/ln10: 24 bits, so that the product with 26 bits is exact, and the rest; log10(2): 32 bits and the rest.
LOG2_E_HIGH, LOG2_E_LOW = 1.4426950216293335, 1.9259629911266175e-08
LOG10_E_HIGH, LOG10_E_LOW = 0.4342944622039795, 1.9699272335463627e-08
LOG10_2_HIGH, LOG10_2_LOW = 0.3010299955494702, 1.1451100898021838e-10
TWO_THIRDS, TWO_THIRDS_LOW = 0.6666666666666666, 3.700743415417188e-17

# (2 atanh(s) / s - 2) / s**2 as a polynomial in s**2 up to the s of sqrt(2): minimax relative to 2 atanh, error
# 2**-59.5, and 2**-37.6 for float32.
LOG_TAIL = (
    0.6666666666666735,
    0.39999999999412894,
    0.2857142874282378,
    0.2222219852470484,
    0.1818356702794397,
    0.15313976996808337,
    0.14796728042526774,
)
LOG_TAIL_SINGLE = (0.6666666564338024, 0.4000033570410499, 0.28537273477555924, 0.23582859545497642)

# ((2 atanh(s) / s - 2) / s**2 - 2/3) / s**2 on the same interval: error 2**-73.5 relative to 2 atanh.
LOG_TAIL_LONG = (
    0.3999999999999998,
    0.28571428571445157,
    0.22222222217524942,
    0.1818181887172976,
    0.15384556774325214,
    0.13336321144072052,
    0.11674742764715067,
    0.11989645064934981,
)

# (asinh(x) / x - 1) / x**2 and (atanh(x) / x - 1) / x**2 as polynomials in x**2 on |x| <= 1/2, minimax relative to the
# function: errors 2**-60.4 and 2**-57.0.
ARCSINH_TAIL = (
    -0.1666666666666661,
    0.07499999999984341,
    -0.04464285712776589,
    0.03038194371356629,
    -0.02237213828792157,
    0.017352385860632813,
    -0.013960221140375317,
    0.011512909191781901,
    -0.009533810624355273,
    0.007464669703480539,
    -0.0047460193513360035,
    0.001717038005021986,
)
ARCTANH_TAIL = (
    0.33333333333334,
    0.19999999999793666,
    0.14285714308180927,
    0.1111110988123165,
    0.09090948703313957,
    0.07691490675813963,
    0.06677995126331226,
    0.05773965846671375,
    0.05984897116564772,
    0.014467695733586416,
    0.14517097277484498,
    -0.15324799570852077,
    0.22500301623339036,
)


def decompose(w: Writer, x: Lanes, may_be_subnormal: bool = True) -> Pair:
    """Return the exponent k (a double) and the significand m in [sqrt(1/2), sqrt(2)) of a positive finite x."""
    bias = w.constant(2.0**52 + 1023.0)
    if may_be_subnormal and not w.single:
        # A subnormal double is made normal first; as a double, a subnormal float32 already is.
        subnormal = x < 2.0**-1022
        x = w.select(subnormal, x * 2.0**54, x)
        bias = w.select(subnormal, 2.0**52 + 1023.0 + 54.0, bias)
    moved = x.bits() + (ONE_BITS - SQRT_HALF_BITS)
    m = ((moved & MANTISSA_MASK) + SQRT_HALF_BITS).double()
    # The biased exponent becomes a double by standing in the low bits of 2**52.
    return ((moved >> 52) | bits_of(2.0**52)).double() - bias, m


def log_tail(w: Writer, s: Lanes) -> Lanes:
    """Return 2 atanh(s) / s - 2 for the s of `log`."""
    z = s * s
    return z * w.polynomial(z, LOG_TAIL_SINGLE if w.single else LOG_TAIL)


def assemble(w: Writer, k: Lanes, f: Lanes, s: Lanes, correction: Lanes | float) -> Lanes:
    """Return k ln2 + log(1 + f) + correction, with s = f / (2 + f)."""
    half_square = (f * f) * 0.5
    small = w.multiply_add(s, half_square + log_tail(w, s), w.multiply_add(k, LN2_LOW, correction))
    return w.multiply_add(k, LN2_HIGH, f - (half_square - small))


def at_ends(w: Writer, x: Lanes, result: Lanes) -> Lanes:
    """Put in the values of a logarithm at 0, below 0, at infinity and at NaN."""
    inside = (x > 0.0) & (x < INFINITY)
    outside = w.select(x.equals(0.0), -INFINITY, w.select(x < 0.0, NAN, x))
    return w.select(inside, result, outside)


def log(w: Writer, x: Lanes) -> Lanes:
    """Return the natural logarithm."""
    k, m = decompose(w, x)
    f = m - 1.0
    return at_ends(w, x, assemble(w, k, f, f / (f + 2.0), 0.0))


def log1p(w: Writer, x: Lanes) -> Lanes:
    """Return log(1 + x)."""
    u, lost = w.two_sum(w.constant(1.0), x)
    k, m = decompose(w, u, may_be_subnormal=False)
    # Where k = 0, f is x itself. Elsewhere log(u + lost) = log(u) + lost / u, to far below the result's last place; and
    # 1 / u = 2**-k / m, 1 / m = 1 - 2 s + 2 s**2 to 1 %. The power is doubled, 2**-1024 being no normal double.
    direct = k.equals(0.0)
    f = w.select(direct, x, m - 1.0)
    s = f / (f + 2.0)
    twice_power = (m.bits() - u.bits() + (ONE_BITS + (1 << 52))).double()
    correction = (lost * twice_power) * w.multiply_add(s, s - 1.0, 0.5)
    result = assemble(w, k, f, s, w.select(direct, 0.0, correction))
    return w.select(x.magnitude() < TINY, x, at_ends(w, u, result))


def log2(w: Writer, x: Lanes) -> Lanes:
    """Return the logarithm to base 2; exact for powers of two."""
    k, m = decompose(w, x)
    high, low = log_in_halves(w, m)
    main = high * LOG2_E_HIGH
    rest = w.multiply_add(low + high, LOG2_E_LOW, low * LOG2_E_HIGH)
    total, lost = w.fast_two_sum(k, main)
    return at_ends(w, x, total + (lost + rest))


def log10(w: Writer, x: Lanes) -> Lanes:
    """Return the logarithm to base 10."""
    k, m = decompose(w, x)
    high, low = log_in_halves(w, m)
    main = high * LOG10_E_HIGH
    rest = w.multiply_add(low + high, LOG10_E_LOW, w.multiply_add(k, LOG10_2_LOW, low * LOG10_E_HIGH))
    total, lost = w.fast_two_sum(k * LOG10_2_HIGH, main)
    return at_ends(w, x, total + (lost + rest))


def log_in_halves(w: Writer, m: Lanes) -> Pair:
    """Return log(m), m in [sqrt(1/2), sqrt(2)), as 26 bits and the rest."""
    f = m - 1.0
    s = f / (f + 2.0)
    half_square = (f * f) * 0.5
    high = ((f - half_square).bits() & UPPER_HALF_MASK).double()
    return high, w.multiply_add(s, half_square + log_tail(w, s), (f - high) - half_square)


def log_of_sum(w: Writer, x: Lanes, low: Lanes, twice: Lanes) -> Lanes:
    """Return log(x + low), and ln2 more where `twice` is true, for x >= 1."""
    k, m = decompose(w, x, may_be_subnormal=False)
    f = m - 1.0
    return assemble(w, k + w.select(twice, 1.0, 0.0), f, f / (f + 2.0), low / x)


def sum_with_root(w: Writer, x: Lanes, sign: float) -> Pair:
    """Return x + sqrt(x**2 + sign) as a pair, for 1/2 <= x < 2**500."""
    square, square_low = w.two_product(x, x)
    inner, inner_low = w.two_sum(square, w.constant(sign))
    inner, inner_low = w.fast_two_sum(inner, inner_low + square_low)
    root = w.sqrt(inner)
    again, again_low = w.two_product(root, root)
    root_low = w.select(root > 0.0, (((inner - again) - again_low) + inner_low) * 0.5 / root, 0.0)
    total, low = w.two_sum(x, root)
    return total, low + root_low


def arcsinh(w: Writer, x: Lanes) -> Lanes:
    """Return the inverse hyperbolic sine."""
    magnitude = x.magnitude()
    # Far out it is log(2x).
    far = magnitude > 2.0**60
    total, low = sum_with_root(w, w.at_most(magnitude, 2.0**60), 1.0)
    large = log_of_sum(w, w.select(far, magnitude, total), w.select(far, 0.0, low), far)
    z = x * x
    small = w.multiply_add(magnitude, z * w.polynomial(z, ARCSINH_TAIL), magnitude)
    result = w.select(magnitude < 0.5, small, w.select(magnitude < INFINITY, large, magnitude))
    return result.with_sign(x.sign_bit())


def arccosh(w: Writer, x: Lanes) -> Lanes:
    """Return the inverse hyperbolic cosine."""
    far = x > 2.0**60
    total, low = sum_with_root(w, w.at_most(x, 2.0**60), -1.0)
    large = log_of_sum(w, w.select(far, x, total), w.select(far, 0.0, low), far)
    return w.select((x >= 1.0) & (x < INFINITY), large, w.select(x < 1.0, NAN, x))


def arctanh(w: Writer, x: Lanes) -> Lanes:
    """Return the inverse hyperbolic tangent."""
    magnitude = x.magnitude()
    large = log1p(w, (magnitude + magnitude) / (1.0 - magnitude)) * 0.5
    z = x * x
    small = w.multiply_add(magnitude, z * w.polynomial(z, ARCTANH_TAIL), magnitude)
    return w.select(magnitude < 0.5, small, large).with_sign(x.sign_bit())


def log_pair(w: Writer, x: Lanes) -> Pair:
    """Return the logarithm of a positive finite x as a pair, to about 2**-65 of itself."""
    k, m = decompose(w, x)
    f = m - 1.0
    divisor = m + 1.0
    divisor_low = m - (divisor - 1.0)
    inverse = 1.0 / divisor
    s = f * inverse
    back, back_low = w.two_product(s, divisor)
    s_low = (((f - back) - back_low) - s * divisor_low) * inverse
    z, z_low = w.two_product(s, s)
    z_low = w.multiply_add(s + s, s_low, z_low)
    # 2 atanh(s) = 2 s + s z (2/3 + z P(z)).
    series = z * w.polynomial(z, LOG_TAIL_LONG)
    c, c_low = w.fast_two_sum(w.constant(TWO_THIRDS), series)
    c_low = c_low + TWO_THIRDS_LOW
    t, t_low = w.two_product(z, c)
    t_low = w.multiply_add(z, c_low, w.multiply_add(z_low, c, t_low))
    u, u_low = w.two_product(s, t)
    u_low = w.multiply_add(s, t_low, w.multiply_add(s_low, t, u_low))
    high, lost = w.fast_two_sum(k * LN2_HIGH, s + s)
    high, lost_again = w.fast_two_sum(high, u)
    low = (lost + lost_again) + w.multiply_add(k, LN2_LOW, (s_low + s_low) + u_low)
    return w.fast_two_sum(high, low)


def power(w: Writer, x: Lanes, y: Lanes) -> Lanes:
    """Return x**y by e**(y log |x|), the product as a pair, and the special cases of C99's annex F.9.4.4."""
    magnitude = x.magnitude()
    # With any |x| but 1 a larger y overflows or vanishes as this one does; it keeps the products finite.
    bounded = w.at_most(w.at_least(y, -(2.0**65)), 2.0**65)
    if w.single:
        result = exp(w, bounded * log(w, magnitude))
    else:
        high, low = log_pair(w, magnitude)
        # The logarithms of 0, infinity and NaN; what the lower parts then are is ignored by `exp_in_parts`.
        high = w.select(magnitude < INFINITY, w.select(magnitude.equals(0.0), -INFINITY, high), magnitude)
        product, product_low = w.two_product(bounded, high)
        r, tail, scale, rest = exp_in_parts(w, product, w.multiply_add(bounded, low, product_low))
        result = w.multiply_add(scale, r + tail, scale) * rest
    half = y * 0.5
    whole = w.floor(y).equals(y)
    odd = whole & ~w.floor(half).equals(half)
    result = result.with_sign(w.select(odd, x.sign_bit(), 0))
    result = w.select((x < 0.0) & (x > -INFINITY) & ~whole, NAN, result)
    return w.select(y.equals(0.0) | x.equals(1.0), 1.0, result)
