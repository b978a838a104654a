"""Calls are bound to parameters as Python binds them, and wrong calls raise what Python raises."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import grad, value_and_grad

X = np.array([0.5, -1.0, 2.0])


WRONG_CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((2.0,), {}),
    ((2.0, 3.0, 4.0), {}),
    ((2.0, 3.0), {"other": 1.0}),
    ((2.0, 3.0), {"x": 1.0}),
    ((), {"y": 1.0}),
    ((), {"other": 1.0}),
]


class Model:
    def loss(self, x: Any, y: Any) -> Any:
        return x * y

    __call__ = loss


def product(x: Any, y: Any, *, scale: Any = 1.0) -> Any:
    return x * y * scale


@pytest.mark.parametrize("function", [product, Model().loss, Model(), functools.partial(product, scale=2.0)])
@pytest.mark.parametrize("args, kwargs", WRONG_CALLS)
def test_wrong_calls_raise_what_python_raises(function: Any, args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError) as want:
        function(*args, **kwargs)
    for transform in (grad, value_and_grad, jitgrad.jit):
        with pytest.raises(TypeError) as found:
            transform(function)(*args, **kwargs)
        assert (type(found.value), str(found.value)) == (TypeError, str(want.value))


SIGNATURES: list[Any] = [
    product,
    lambda x, y=1.0, *, k=2.0: x,
    lambda x, *, k, j: x,
    lambda x, *, k, j, z: x,
    lambda *, k: k,
    lambda x, y, z: x,
    lambda x=1.0: x,
    lambda: 1.0,
    lambda x, y, /, k: x,
]


@pytest.mark.parametrize("function", SIGNATURES)
def test_calls_are_bound_as_python_binds_them(function: Any) -> None:
    for count in range(5):
        for names in ((), ("k",), ("k", "j"), ("x",), ("x", "y"), ("other", "x")):
            args, kwargs = (1.0,) * count, dict.fromkeys(names, 2.0)
            texts = []
            for f in (function, jitgrad.jit(function)):
                try:
                    texts.append(f(*args, **kwargs))
                except TypeError as exception:
                    texts.append(str(exception))
            assert texts[0] == texts[1]


def test_an_argument_passed_by_keyword_keeps_its_position() -> None:
    assert grad(product)(x=2.0, y=3.0) == 3.0
    assert grad(product, argnums=1)(2.0, y=3.0) == 2.0
    assert grad(product, argnums=(1, 0))(y=3.0, x=2.0) == (2.0, 3.0)
    assert jitgrad.jit(lambda x: grad(lambda x, y: x * y, argnums=1)(x, y=3.0))(2.0) == 2.0
    with pytest.raises(jitgrad.ArgumentError, match="JG101"):
        grad(product, argnums=2)(2.0, 3.0, scale=1.0)
