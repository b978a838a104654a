"""The error function, roots and lengths as lanes of LLVM IR: erf, erfc, cbrt, hypot.

In: a `Writer` and operands. Out: the result's `Lanes`; every routine is free of branches and of tables. This room knows
nothing of dtypes beyond `Writer.single`, of modules, or of who calls.

Method: erf is odd and entire, a polynomial up to 1; beyond, erfc(x) = e**-x**2 g(x), where g is smooth and a polynomial
after a change of variable (Muller, Elementary Functions, chapter 3, on minimax polynomials and the Remez algorithm that
found all of these). cbrt is an iteration on the reciprocal root, which needs no division.
"""

from __future__ import annotations

from jitgrad.backend.math_exp import exp_in_parts, plain
from jitgrad.backend.math_lanes import INFINITY, Lanes, Writer
from jitgrad.backend.math_log import decompose

__all__ = ["cbrt", "erf", "erfc", "hypot"]

# erf(x) / x - 1 as a polynomial in x**2 on |x| <= 1, minimax relative to erf: error 2**-62.7, 2**-29.6 for float32.
ERF_NEAR = (
    0.1283791670955126,
    -0.3761263890318375,
    0.11283791670954856,
    -0.026866170645072615,
    0.005223977624778012,
    -0.0008548326978571679,
    0.00012055331030456042,
    -1.4925593346940173e-05,
    1.646097017340068e-06,
    -1.6349996413846567e-07,
    1.465768107445813e-08,
    -1.1364879322026477e-09,
    5.943901607604313e-11,
)
ERF_NEAR_SINGLE = (
    0.12837916572212743,
    -0.37612625787017423,
    0.11283584665457543,
    -0.02685378921641208,
    0.005188279791539941,
    -0.0008009731510059489,
    7.85219937350907e-05,
)

# e**x**2 erfc(x) as a polynomial in 1 / (x + 2) - ERF_CENTRE on 1 <= x <= 6, minimax relative to e**x**2: erf gets an
# absolute error of 2**-62.9, 2**-35.3 for float32.
ERF_CENTRE = 0.22916666666666666
ERF_FAR = (
    0.22142954022993178,
    1.5541782531938342,
    3.5537421703855334,
    4.944626961932197,
    1.674394821531514,
    -6.587575649845573,
    -5.745846928155399,
    14.875256554638257,
    11.796956961093407,
    -48.51682569632394,
    -4.546286168492183,
    179.53036340285996,
    -274.66390032607217,
    109.30171618557925,
)
ERF_FAR_SINGLE = (
    0.2214295349828315,
    1.5541783570461478,
    3.5537844334330946,
    4.941828192632964,
    1.74790879965278,
    -7.547676857041689,
    0.4328892674516897,
)

# (1 + 2 x) e**x**2 erfc(x) as a polynomial in (x - 4) / (x + 4) on 0.498 <= x <= 27.3: minimax, relative error
# 2**-58.8.
ERFC_FAR = (
    1.2329951186255526,
    -0.1396211168405625,
    0.015379652102619016,
    0.06809705425469051,
    -0.10103906603625289,
    0.09373283499844261,
    -0.06633036581363155,
    0.0371675155356159,
    -0.01619773403794424,
    0.005031969999048419,
    -0.0007577734509662885,
    -0.0001992568415838547,
    0.00015062250459677752,
    -2.4398545332119992e-05,
    -1.1224755548179867e-05,
    5.7076969419635705e-06,
    2.99591195939103e-07,
    -8.213110135750839e-07,
    6.699932532058833e-08,
    1.047599199889661e-07,
    -1.2216373521275104e-08,
    -1.0186734593301291e-08,
)

# m**(-1/3) on [sqrt(1/2), sqrt(2)], minimax: relative error 2**-14.7.
INVERSE_CBRT = (
    1.8745203854124164,
    -1.8618250271741859,
    1.5612805749670646,
    -0.702360258883876,
    0.12836087184314354,
)
CBRT_2, CBRT_HALF = 1.2599210498948732, 0.7937005259840998


def erf(w: Writer, x: Lanes) -> Lanes:
    """Return the error function."""
    magnitude = x.magnitude()
    z = x * x
    near = w.multiply_add(magnitude, w.polynomial(z, ERF_NEAR_SINGLE if w.single else ERF_NEAR), magnitude)
    bounded = w.at_most(magnitude, 6.0)
    t = 1.0 / (bounded + 2.0) - ERF_CENTRE
    g = w.polynomial(t, ERF_FAR_SINGLE if w.single else ERF_FAR)
    far = 1.0 - plain(w, -(bounded * bounded)) * g
    return w.select(magnitude < 1.0, near, far).with_sign(x.sign_bit())


def erfc(w: Writer, x: Lanes) -> Lanes:
    """Return 1 - erf(x), accurate where it is small."""
    magnitude = x.magnitude()
    near = (1.0 - x) - x * w.polynomial(x * x, ERF_NEAR)
    bounded = w.at_most(magnitude, 27.3)
    square, square_low = w.two_product(bounded, bounded)
    r, tail, scale, rest = exp_in_parts(w, -square, -square_low)
    t = (bounded - 4.0) / (bounded + 4.0)
    # e**-x**2 g / (1 + 2 x): five roundings would add up, so all three are pairs.
    e, e_low = w.fast_two_sum(w.constant(1.0), r)
    g, g_low = w.fast_two_sum(w.constant(ERFC_FAR[0]), t * w.polynomial(t, ERFC_FAR[1:]))
    divisor, divisor_low = w.fast_two_sum(bounded + bounded, w.constant(1.0))
    product, product_low = w.two_product(e, g)
    product_low = product_low + w.multiply_add(e, g_low, (e_low + tail) * g)
    inverse = 1.0 / divisor
    quotient = product * inverse
    back, back_low = w.two_product(quotient, divisor)
    quotient_low = ((product - back) - back_low + (product_low - quotient * divisor_low)) * inverse
    far = ((quotient + quotient_low) * scale) * rest
    far = w.select(x < 0.0, 2.0 - far, far)
    return w.select(magnitude < 0.5, near, far)


def cbrt(w: Writer, x: Lanes) -> Lanes:
    """Return the cube root."""
    magnitude = x.magnitude()
    k, m = decompose(w, magnitude)
    # k = 3 j + i; the root is 2**j times that of 2**i m.
    j, j_bits = w.nearest_multiple(k, 1.0 / 3.0)
    i = k - (j + j + j)
    up, down = i > 0.0, i < 0.0
    inner = m * w.select(up, 2.0, w.select(down, 0.5, 1.0))
    # One step of fourth order for r = inner**(-1/3): with h = 1 - inner r**3, r (1 - h)**(-1/3).
    r = w.polynomial(m, INVERSE_CBRT) * w.select(up, CBRT_HALF, w.select(down, CBRT_2, 1.0))
    h = w.multiply_add(-inner, (r * r) * r, 1.0)
    r = w.multiply_add(r * h, w.horner(h, (1.0 / 3.0, 2.0 / 9.0, 14.0 / 81.0)), r)
    # A step of Newton's on the root itself, its residual exact.
    root = inner * (r * r)
    square, square_low = w.two_product(root, root)
    cube, cube_low = w.two_product(square, root)
    residual = (cube - inner) + w.multiply_add(square_low, root, cube_low)
    root = root - residual * ((r * r) * (1.0 / 3.0))
    result = (root * w.power_of_two(j_bits)).with_sign(x.sign_bit())
    return w.select((magnitude > 0.0) & (magnitude < INFINITY), result, x)


def hypot(w: Writer, x: Lanes, y: Lanes) -> Lanes:
    """Return sqrt(x**2 + y**2) without undue overflow or underflow; infinity beats NaN."""
    width, height = x.magnitude(), y.magnitude()
    infinite = width.equals(INFINITY) | height.equals(INFINITY)
    if w.single:
        length = w.sqrt(w.multiply_add(width, width, height * height))
    else:
        larger = w.select(width > height, width, height)
        big, little = larger > 2.0**500, larger < 2.0**-500
        scale = w.select(big, 2.0**-600, w.select(little, 2.0**600, 1.0))
        back = w.select(big, 2.0**600, w.select(little, 2.0**-600, 1.0))
        width, height = width * scale, height * scale
        length = w.sqrt(w.multiply_add(width, width, height * height)) * back
    return w.select(infinite, INFINITY, length)
