"""The demo learns, its gradient is the one written by hand, and it draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jitgrad import demo

pytestmark = pytest.mark.smoke


def small_model(rng: np.random.Generator) -> demo.Model:
    first = demo.Linear(rng.standard_normal((64, 8)), rng.standard_normal(8))
    return demo.Model([first, np.tanh, demo.Linear(rng.standard_normal((8, 10)), rng.standard_normal(10))])


def test_it_learns_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "curve.png"
    accuracy = demo.main(["--epochs", "4", "--out", str(picture)])
    assert accuracy > 0.95
    assert picture.read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    error = float(out.partition("relative error ")[2].split()[0])
    assert error < 1e-6
    assert "by hand in NumPy" in out and str(picture) in out


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    arguments = ["--epochs", "1", "--out", str(tmp_path / "curve.png")]
    assert demo.main(arguments) == demo.main(arguments)


def test_the_gradient_is_the_one_by_hand() -> None:
    rng = np.random.default_rng(1)
    model, images, labels = small_model(rng), rng.random((5, 64)), np.array([3, 0, 9, 3, 1])
    value, gradient = demo.loss_and_gradient(model, images, labels)
    expected_value, expected = demo.by_hand(model, images, labels)
    np.testing.assert_allclose(value, expected_value, rtol=1e-12)
    assert type(gradient) is demo.Model
    assert gradient.layers[1] is np.tanh
    for got, wanted in zip(gradient.parameters(), expected.parameters(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-14)


def test_a_layer_without_bias() -> None:
    rng = np.random.default_rng(2)
    model, images, labels = small_model(rng), rng.random((5, 64)), np.array([3, 0, 9, 3, 1])
    model.layers[0].b = None
    assert demo.difference_error(model, images, labels, rng) < 1e-7
    assert demo.loss_and_gradient(model, images, labels)[1].layers[0].b is None
