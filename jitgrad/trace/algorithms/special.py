"""The gamma function, its logarithm and the derivative of that, for arrays of floats.

Between 1.5 and 2.5 the logarithm is its Taylor series about 2, whose coefficients are values of the zeta function;
above, that after steps down, from 8 on Stirling's series; below 0.5 by reflection. Derivatives follow.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["digamma", "gamma", "gammaln", "math_gamma", "math_lgamma"]

_LOG_OF_ROOT = 0.5 * math.log(2.0 * math.pi)
_SLOPE_AT_2 = 1.0 - np.euler_gamma
# (-1)**k * (zeta(k) - 1) / k for k = 2, 3, ...
_TAYLOR = (
    0.3224670334241132,
    -0.0673523010531981,
    0.020580808427784546,
    -0.007385551028673986,
    0.0028905103307415234,
    -0.001192753911703261,
    0.0005096695247430425,
    -0.00022315475845357939,
    9.945751278180853e-05,
    -4.492623673813314e-05,
    2.050721277567069e-05,
    -9.439488275268397e-06,
    4.374866789907488e-06,
    -2.039215753801366e-06,
    9.55141213040742e-07,
    -4.492469198764566e-07,
    2.1207184805554665e-07,
    -1.0043224823968099e-07,
    4.7698101693639804e-08,
    -2.2711094608943164e-08,
    1.0838659214896955e-08,
    -5.183475041970047e-09,
    2.4836745438024785e-09,
    -1.1921401405860912e-09,
    5.731367241678862e-10,
    -2.7595228851242334e-10,
    1.330476437424449e-10,
    -6.4229645638381e-11,
    3.1044247747322276e-11,
)
# Of Stirling's series in odd powers of 1 / x, and of its derivative in even ones.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)
_LARGE = 8.0


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    made = coefficients[-1] * x
    for c in coefficients[-2::-1]:
        made = (made + c) * x
    return made


def _about_2(x: Any) -> Any:
    """Return the logarithm between 0.5 and 2.5."""
    t = np.where(x < 1.5, x - 1.0, x - 2.0)
    made = t * (_SLOPE_AT_2 + _polynomial(_TAYLOR, t))
    return np.where(x < 1.5, made - np.log1p(t), made)


def _stepped_down(x: Any) -> Any:
    """Return a number between 0.5 and 2.5 in steps of 1 below each, and the product of those on the way."""
    product = np.ones_like(x)
    for _ in range(6):
        far = x >= 2.5
        x = np.where(far, x - 1.0, x)
        product = np.where(far, product * x, product)
    return x, product


def _past_whole(x: Any, whole: Any) -> Any:
    """Return how far a number is from the nearest whole one; a zero keeps its sign."""
    return np.where(whole == 0.0, x, x - whole)


def _sine(x: Any) -> Any:
    """Return the sine of pi * x."""
    whole = np.round(x)
    part = np.sin(math.pi * _past_whole(x, whole))
    return np.where(whole % 2.0 == 0.0, part, -part)


def gammaln(x: Any) -> Any:
    """Stand for `scipy.special.gammaln`."""
    below = x < 0.5
    z = np.where(below, 1.0 - x, x)
    large = z >= _LARGE
    low, product = _stepped_down(np.where(large, 2.0, z))
    w = np.where(large, z, _LARGE)
    inverse = 1.0 / w
    series = _polynomial(_STIRLING, inverse * inverse) * w
    made = np.where(large, (w - 0.5) * np.log(w) - w + _LOG_OF_ROOT + series, _about_2(low) + np.log(product))
    made = np.where(below, math.log(math.pi) - np.log(np.abs(_sine(np.where(below, x, 0.25)))) - made, made)
    return np.where(np.isinf(x), x, made)


def digamma(x: Any) -> Any:
    """Stand for `scipy.special.digamma`."""
    below = x < 0.5
    z = np.where(below, 1.0 - x, x)
    passed = np.zeros_like(x)
    for _ in range(8):
        near = z < _LARGE
        passed = np.where(near, passed + 1.0 / z, passed)
        z = np.where(near, z + 1.0, z)
    inverse = 1.0 / z
    made = np.log(z) - 0.5 * inverse - _polynomial(_DIGAMMA, inverse * inverse) - passed
    safe = np.where(below, x, 0.25)
    made = np.where(below, made - math.pi / np.tan(math.pi * _past_whole(safe, np.round(safe))), made)
    return np.where((x < 0.0) & (x == np.round(x)), np.nan, made)


def gamma(x: Any) -> Any:
    """Stand for `scipy.special.gamma`."""
    below = x < 0.5
    z = np.where(below, 1.0 - x, x)
    large = z >= _LARGE
    low, product = _stepped_down(np.where(large, 2.0, z))
    w = np.where(large, np.minimum(z, 200.0), _LARGE)
    inverse = 1.0 / w
    # In two halves, of which the square alone would overflow.
    half = w ** (0.5 * w - 0.25)
    series = _polynomial(_STIRLING, inverse * inverse) * w
    grown = half * np.exp(-w) * half * np.exp(_LOG_OF_ROOT + series)
    made = np.where(large, grown, np.exp(_about_2(low)) * product)
    made = np.where(below, math.pi / (_sine(np.where(below, x, 0.25)) * made), made)
    made = np.where(x == np.inf, np.inf, made)
    return np.where((x < 0.0) & (x == np.round(x)), np.nan, made)


def math_lgamma(x: Any, /) -> float:
    """Stand for `math.lgamma`."""
    if math.isinf(x):
        return math.inf
    if x <= 0.0 and x == math.floor(x):
        raise ValueError("math domain error")
    return float(gammaln(np.float64(x)))


def math_gamma(x: Any, /) -> float:
    """Stand for `math.gamma`."""
    if x == -math.inf or (x <= 0.0 and x == math.floor(x)):
        raise ValueError("math domain error")
    made = float(gamma(np.float64(x)))
    if math.isinf(made) and not math.isinf(x):
        raise OverflowError("math range error")
    return made
