"""The circular functions and their inverses as lanes of LLVM IR: sin, cos, tan, arcsin, arccos, arctan, arctan2.

In: a `Writer` and operands. Out: the result's `Lanes`, free of branches but for one in sin, cos and tan, taken when a
lane is beyond `HUGE`: see `math_huge`. This room knows nothing of dtypes beyond `Writer.single`, of modules, or of who
calls.

Method: the nearest multiple q of pi/2 is subtracted, pi/2 held in parts of 32 bits whose products with q are exact
(Cody and Waite; Muller, Elementary Functions, chapter 11 on range reduction); then both sin and cos of the remainder
are evaluated and q chooses. One polynomial for sin up to pi/2 would do the same with fewer operations, but it reaches
1 + 2**-52, and a program may rely on |sin| <= 1. All polynomials are minimax, found by the Remez exchange algorithm.
"""

from __future__ import annotations

from jitgrad.backend.math_huge import reduce_huge
from jitgrad.backend.math_lanes import INFINITY, SIGN_MASK, Lanes, Pair, Writer

__all__ = [
    "ARCSIN_TAIL",
    "ARCSIN_TAIL_SINGLE",
    "ARCTAN_TAIL",
    "ARCTAN_TAIL_SINGLE",
    "COS_TAIL",
    "COS_TAIL_SINGLE",
    "HALF_PI_1",
    "HALF_PI_2",
    "HALF_PI_3",
    "HALF_PI_4",
    "HUGE",
    "SIN_TAIL",
    "SIN_TAIL_SINGLE",
    "TAN_TAIL",
    "TAN_TAIL_SINGLE",
    "TWO_OVER_PI",
    "angle",
    "arccos",
    "arcsin",
    "arctan",
    "arctan2",
    "both",
    "choose_cos",
    "choose_sin",
    "cos",
    "remainder",
    "root_or_square",
    "sin",
    "sin_and_cos",
    "subtract_half_pis",
    "tan",
]

# Up to here q stays below 2**21, so that q times a part of 32 bits is exact.
HUGE = 1.5e6

TWO_OVER_PI = 0.6366197723675814
# pi/2 = the sum of these: three parts of 32 bits and one of 53.
HALF_PI_1 = 1.5707963267341256
HALF_PI_2 = 6.077100506303966e-11
HALF_PI_3 = 2.0222662487111665e-21
HALF_PI_4 = 8.4784276603689e-32
# pi/2 and pi/4, the nearest doubles and the rest; that of pi/4 ends in three zero bits, so that 3 times it is exact.
HALF_PI, HALF_PI_REST = 1.5707963267948966, 6.123233995736766e-17
QUARTER_PI, QUARTER_PI_REST = 0.7853981633974483, 3.061616997868383e-17

# (sin(r) / r - 1) / r**2 as a polynomial in r**2 on |r| <= pi/4, minimax relative to sin: error 2**-57.9, and 2**-37.5
# for float32.
SIN_TAIL = (
    -0.1666666666666663,
    0.008333333333322005,
    -0.00019841269829495457,
    2.755731358760602e-06,
    -2.5050742305819887e-08,
    1.5895904622427357e-10,
)
SIN_TAIL_SINGLE = (-0.16666666640588113, 0.008333329280519252, -0.00019839304414558513, 2.7180464661568708e-06)

# (cos(r) - 1 + r**2 / 2) / r**4 likewise: error 2**-63.9; for float32 (cos(r) - 1) / r**2: 2**-33.9.
COS_TAIL = (
    0.041666666666666595,
    -0.0013888888888872895,
    2.480158728874821e-05,
    -2.755731414863001e-07,
    2.0875696573454027e-09,
    -1.1358310533841194e-11,
)
COS_TAIL_SINGLE = (-0.49999999691959507, 0.04166662007279947, -0.0013886672662895803, 2.4382721611926027e-05)

# The same for tan on |r| <= pi/4: error 2**-60.0, and 2**-33.4 for float32.
TAN_TAIL = (
    0.3333333333333338,
    0.13333333333325756,
    0.053968253972677356,
    0.02186948840554795,
    0.00886323782071155,
    0.00359210195190644,
    0.0014560378790903022,
    0.0005889030856594821,
    0.0002436132553212838,
    8.391262223924375e-05,
    6.657588058790044e-05,
    -2.4814241029775054e-05,
    4.7949760060940026e-05,
    -2.3933076030564324e-05,
    9.722980165612323e-06,
)
TAN_TAIL_SINGLE = (
    0.3333333184320077,
    0.13333410689881978,
    0.05395461669036891,
    0.021984752411075715,
    0.008331147021981691,
    0.00499312909062424,
    -0.0005961720277737296,
    0.002041271933683597,
)

# The same for asin and atan on |x| <= 1/2: errors 2**-59.9 and 2**-57.8; for float32 2**-31.8 and 2**-31.9.
ARCSIN_TAIL = (
    0.1666666666666676,
    0.07499999999970593,
    0.04464285717482075,
    0.03038194269727731,
    0.022372215296499836,
    0.017351606247995678,
    0.013980892147165972,
    0.011398306925292579,
    0.010783750830235654,
    0.003692809435411411,
    0.021741451318491027,
    -0.02104845026684293,
    0.03266028508483474,
)
ARCSIN_TAIL_SINGLE = (
    0.16666659967964148,
    0.07500505684715972,
    0.04451664623829898,
    0.031810463342069724,
    0.014427636603006047,
    0.037532628862950015,
)
ARCTAN_TAIL = (
    -0.3333333333333298,
    0.1999999999990269,
    -0.14285714276349312,
    0.11111110658050774,
    -0.09090896204996457,
    0.07692073289347393,
    -0.06663804242897091,
    0.05858255730259496,
    -0.05121813601373039,
    0.0418596436558862,
    -0.02742626821877212,
    0.010110760702346086,
)
ARCTAN_TAIL_SINGLE = (
    -0.3333332690841618,
    0.1999948874359899,
    -0.14272055694941468,
    0.10940777444609097,
    -0.07983239530069967,
    0.038711047201230496,
)


def subtract_half_pis(w: Writer, x: Lanes, q: Lanes) -> Pair:
    """Return x - q pi/2 as two terms still to be added, for the nearest integer q to 2 x / pi, |q| < 2**21."""
    # Exact: both terms are multiples of 2**-53 where q is not 0, and their difference is below 1.
    first = w.multiply_add(q, -HALF_PI_1, x)
    if w.single:
        return first, q * -(HALF_PI_2 + HALF_PI_3)
    # Each further difference is exact where it cancels; elsewhere what it lost is exact.
    step = q * HALF_PI_2
    second = first - step
    lost = (first - second) - step
    step = q * HALF_PI_3
    third = second - step
    lost = lost + ((second - third) - step)
    return third, w.multiply_add(q, -HALF_PI_4, lost)


def remainder(w: Writer, x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """Return x - q pi/2 as two terms still to be added, and q in the low bits of integers."""
    q, q_bits = w.nearest_multiple(x, TWO_OVER_PI)
    high, low = subtract_half_pis(w, x, q)
    return reduce_huge(w, x, x.magnitude() > HUGE, (high, low, q_bits))


def sin_and_cos(w: Writer, x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """Return the sine and the cosine of x - q pi/2, and q in the low bits of integers."""
    high, low, q_bits = remainder(w, x)
    r = high + low
    z = r * r
    if w.single:
        of_sin = w.multiply_add(r * z, w.polynomial(z, SIN_TAIL_SINGLE), r)
        return of_sin, w.multiply_add(z, w.polynomial(z, COS_TAIL_SINGLE), 1.0), q_bits
    of_sin = w.multiply_add(r * z, w.polynomial(z, SIN_TAIL), r)
    half = z * 0.5
    head = 1.0 - half
    of_cos = head + w.multiply_add(z * z, w.polynomial(z, COS_TAIL), (1.0 - head) - half)
    return of_sin, of_cos, q_bits


def choose_sin(w: Writer, x: Lanes, of_sin: Lanes, of_cos: Lanes, q_bits: Lanes) -> Lanes:
    """Return the sine of x from what `sin_and_cos` returns."""
    # Bit 0 of q chooses, bit 1 is the sign.
    result = w.select((q_bits << 63) < 0, of_cos, of_sin).with_sign((q_bits << 62) & SIGN_MASK)
    # The sums above turn -0 into 0.
    return w.select(x.equals(0.0), x, result)


def choose_cos(w: Writer, of_sin: Lanes, of_cos: Lanes, q_bits: Lanes) -> Lanes:
    """Return the cosine from what `sin_and_cos` returns."""
    # cos(r + q pi/2) is cos, -sin, -cos, sin for q = 0, 1, 2, 3: bit 1 of q + 1 is the sign.
    return w.select((q_bits << 63) < 0, of_sin, of_cos).with_sign(((q_bits + 1) << 62) & SIGN_MASK)


def sin(w: Writer, x: Lanes) -> Lanes:
    """Return the sine."""
    return choose_sin(w, x, *sin_and_cos(w, x))


def cos(w: Writer, x: Lanes) -> Lanes:
    """Return the cosine."""
    return choose_cos(w, *sin_and_cos(w, x))


def both(w: Writer, x: Lanes) -> tuple[Lanes, Lanes]:
    """Return the sine and the cosine, with the same bits as each alone."""
    found = sin_and_cos(w, x)
    return choose_sin(w, x, *found), choose_cos(w, *found)


def tan(w: Writer, x: Lanes) -> Lanes:
    """Return the tangent: of r in [-pi/4, pi/4], or -1 / tan(r) where q is odd."""
    high, low, q_bits = remainder(w, x)
    r = high + low
    z = r * r
    if w.single:
        t = w.multiply_add(r, z * w.polynomial(z, TAN_TAIL_SINGLE), r)
    else:
        low = low - (r - high)
        t = r + w.multiply_add(r, z * w.polynomial(z, TAN_TAIL), w.multiply_add(low, z, low))
    odd = (q_bits << 63) < 0
    return w.select(x.equals(0.0), x, w.select(odd, -1.0 / t, t))


def root_or_square(w: Writer, magnitude: Lanes) -> tuple[Lanes, Lanes, Lanes, Lanes]:
    """Prepare arcsin and arccos, using arcsin(x) = pi/2 - 2 arcsin(s), s = sqrt((1 - x) / 2), where |x| > 1/2.

    Returns where that is so, the argument (|x| or s), what it lacks of the exact root, and (arcsin(t) - t) / t.
    """
    large = magnitude > 0.5
    z = w.select(large, (1.0 - magnitude) * 0.5, magnitude * magnitude)
    root = w.sqrt(z)
    again, again_low = w.two_product(root, root)
    low = w.select(root > 0.0, ((z - again) - again_low) * 0.5 / root, 0.0)
    t = w.select(large, root, magnitude)
    return large, t, low, z * w.polynomial(z, ARCSIN_TAIL_SINGLE if w.single else ARCSIN_TAIL)


def arcsin(w: Writer, x: Lanes) -> Lanes:
    """Return the inverse sine."""
    magnitude = x.magnitude()
    large, t, low, tail = root_or_square(w, magnitude)
    small = w.multiply_add(t, tail, t)
    rest = w.multiply_add(t, tail, low)
    result = w.select(large, (HALF_PI - (t + t)) + (HALF_PI_REST - (rest + rest)), small)
    return result.with_sign(x.sign_bit())


def arccos(w: Writer, x: Lanes) -> Lanes:
    """Return the inverse cosine."""
    large, t, low, tail = root_or_square(w, x.magnitude())
    negative = x < 0.0
    # 2 arcsin(s), or pi - 2 arcsin(s) = 2 (pi/2 - arcsin(s)), or pi/2 - arcsin(x).
    rest = w.multiply_add(t, tail, w.select(large, low, 0.0))
    near_one = t + rest
    signed, signed_rest = w.select(large | ~negative, t, -t), w.select(large | ~negative, rest, -rest)
    other = (HALF_PI - signed) + (HALF_PI_REST - signed_rest)
    factor = w.select(large, 2.0, 1.0)
    return w.select(large & ~negative, near_one, other) * factor


def angle(w: Writer, small: Lanes, large: Lanes, swapped: Lanes, left: Lanes | None) -> Lanes:
    """Return the angle in [0, pi] whose tangent is small / large, 0 <= small <= large.

    Where `swapped` is true it is mirrored at pi/4 (the tangent is large / small), where `left` is true then at pi/2.
    """
    # atan(a/b) = pi/4 + atan((a-b)/(a+b)): the argument stays in [-1/3, 1/2].
    upper = small > large * 0.5
    t = w.select(upper, small - large, small) / w.select(upper, small + large, large)
    z = t * t
    tail = z * w.polynomial(z, ARCTAN_TAIL_SINGLE if w.single else ARCTAN_TAIL)
    quarters = w.select(upper, 1.0, 0.0)
    quarters = w.select(swapped, 2.0 - quarters, quarters)
    mirrored = swapped
    if left is not None:
        quarters = w.select(left, 4.0 - quarters, quarters)
        mirrored = mirrored ^ left
    t = w.select(mirrored, -t, t)
    return w.multiply_add(quarters, QUARTER_PI, t) + w.multiply_add(t, tail, quarters * QUARTER_PI_REST)


def arctan(w: Writer, x: Lanes) -> Lanes:
    """Return the inverse tangent."""
    magnitude = x.magnitude()
    swapped = magnitude > 1.0
    small, large = w.select(swapped, 1.0, magnitude), w.select(swapped, magnitude, 1.0)
    return angle(w, small, large, swapped, None).with_sign(x.sign_bit())


def arctan2(w: Writer, y: Lanes, x: Lanes) -> Lanes:
    """Return the angle of the point (x, y), with C99's special cases (annex F.9.1.4)."""
    up, right = y.magnitude(), x.magnitude()
    swapped = up > right
    small, large = w.select(swapped, right, up), w.select(swapped, up, right)
    # Of two infinities or two zeros the quotient is taken as 1 and 0.
    infinite = small.equals(INFINITY) & large.equals(INFINITY)
    small, large = w.select(infinite, 1.0, small), w.select(infinite, 1.0, large)
    large = w.select(large.equals(0.0), 1.0, large)
    if not w.single:
        # The sum of the two must not overflow.
        scale = w.select(large > 2.0**1000, 2.0**-100, 1.0)
        small, large = small * scale, large * scale
    return angle(w, small, large, swapped, x.bits() < 0).with_sign(y.sign_bit())
