"""Train a classifier of hand-written digits: `python -m jitgrad demo`.

Everything from the layers to the optimiser is plain Python and NumPy; `value_and_grad` is all there is of jitgrad. The
gradient of a model is a model. Then the gradient is checked against finite differences, timed beside one written by
hand, and the loss is drawn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jitgrad import value_and_grad

try:
    from matplotlib.figure import Figure
    from sklearn.datasets import load_digits
    from tqdm import tqdm
except ImportError as missing:
    raise SystemExit(f"The demo needs {missing.name}. To install all it needs: pip install '.[demo]'") from missing

__all__ = ["Linear", "Model", "gradient_by_hand", "loss", "main", "train"]

BATCH = 32


# --- the model


@dataclass
class Linear:
    """A dense layer."""

    w: np.ndarray
    b: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = x @ self.w
        return y if self.b is None else y + self.b


@dataclass
class Model:
    """Layers, one after the other: any callables, dataclasses with parameters among them."""

    layers: list[Any]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        for layer in self.layers:
            x = layer(x)
        return x

    def parameters(self) -> list[np.ndarray]:
        """Return all arrays of the model; of a gradient, those of the gradient."""
        linear = [layer for layer in self.layers if isinstance(layer, Linear)]
        return [p for layer in linear for p in (layer.w, layer.b) if p is not None]


def loss(model: Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean cross-entropy between the labels and the softmax of the model's logits."""
    logits = model(images)
    logits = logits - logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels].mean()


loss_and_grad = value_and_grad(loss)


def gradient_by_hand(model: Model, images: np.ndarray, labels: np.ndarray) -> tuple[float, Model]:
    """Return what `loss_and_grad` returns, for two layers and tanh, as one writes it with pencil and NumPy."""
    first, activation, last = model.layers
    hidden = np.tanh(images @ first.w + first.b)
    logits = hidden @ last.w + last.b
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    value = -np.log(p[rows, labels]).mean()
    p[rows, labels] -= 1.0
    p /= len(labels)
    d_hidden = (p @ last.w.T) * (1.0 - hidden * hidden)
    first_gradient = Linear(images.T @ d_hidden, d_hidden.sum(axis=0))
    return value, Model([first_gradient, activation, Linear(hidden.T @ p, p.sum(axis=0))])


# --- training


def train(model: Model, images: np.ndarray, labels: np.ndarray, epochs: int, rng: np.random.Generator) -> list[float]:
    """Train a model in place by gradient descent with momentum; return the loss of each step."""
    velocity = [np.zeros_like(p) for p in model.parameters()]
    history: list[float] = []
    with tqdm(total=epochs * (len(labels) // BATCH), unit=" steps") as bar:
        for _ in range(epochs):
            order = rng.permutation(len(labels))[: len(labels) // BATCH * BATCH]
            for batch in order.reshape(-1, BATCH):
                value, gradient = loss_and_grad(model, images[batch], labels[batch])
                for p, v, g in zip(model.parameters(), velocity, gradient.parameters(), strict=True):
                    v *= 0.9
                    v -= 0.1 * g
                    p += v
                history.append(float(value))
                bar.update()
            bar.set_postfix(loss=f"{np.mean(history[-len(labels) // BATCH :]):.4f}")
    return history


# --- checks, times, a picture


def finite_difference_error(model: Model, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> float:
    """Return the largest relative error of the gradient in ten random directions."""
    gradient = loss_and_grad(model, images, labels)[1]
    worst = 0.0
    for _ in range(10):
        direction = [rng.standard_normal(p.shape) for p in model.parameters()]
        values = []
        for step in (1e-5, -2e-5, 1e-5):
            for p, d in zip(model.parameters(), direction, strict=True):
                p += step * d
            values.append(loss(model, images, labels))
        expected = (values[0] - values[1]) / 2e-5
        got = sum(np.vdot(g, d) for g, d in zip(gradient.parameters(), direction, strict=True))
        worst = max(worst, float(abs(got - expected) / abs(expected)))
    return worst


def microseconds(function: Callable[..., Any], *args: Any) -> float:
    """Return the time of a call: the best of 20 rounds of 20 calls."""
    best = np.inf
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(20):
            function(*args)
        best = min(best, time.perf_counter() - start)
    return float(best / 20 * 1e6)


def draw(history: Sequence[float], path: Path) -> None:
    """Draw the loss of each step, and its mean over 50 steps, into a PNG."""
    axes = (figure := Figure(figsize=(7, 4), layout="constrained")).subplots()
    smooth = np.convolve(history, np.ones(50) / 50, mode="valid")
    axes.semilogy(history, color="0.8", linewidth=0.8, label="each step")
    axes.semilogy(np.arange(len(smooth)) + 49, smooth, color="tab:blue", label="mean of 50 steps")
    axes.set(xlabel="step", ylabel="cross-entropy", title="Hand-written digits")
    axes.legend()
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> float:
    """Run the demo; return the accuracy on the test images."""
    parser = argparse.ArgumentParser(prog="python -m jitgrad demo", description="Train a classifier of digits.")
    parser.add_argument("--out", type=Path, default=Path("demo.png"), help="where the loss curve goes (demo.png)")
    parser.add_argument("--epochs", type=int, default=40, help="passes over the training images (40)")
    options = parser.parse_args(arguments)

    rng = np.random.default_rng(0)
    images, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(labels))
    images, labels = images[order] / 16.0, labels[order]
    test_images, test_labels = images[1437:], labels[1437:]
    images, labels = images[:1437], labels[:1437]

    hidden = Linear(rng.standard_normal((64, 128)) / 8.0, np.zeros(128))
    model = Model([hidden, np.tanh, Linear(rng.standard_normal((128, 10)) / 11.3, np.zeros(10))])
    first = (model, images[:BATCH], labels[:BATCH])

    print(f"gradient against finite differences: relative error {finite_difference_error(*first, rng):.1e}")
    history = train(model, images, labels, options.epochs, rng)
    accuracy = float(np.mean(model(test_images).argmax(axis=1) == test_labels))
    print(f"test accuracy: {accuracy:.1%} of {len(test_labels)} images the model has not seen")
    ours, by_hand = microseconds(loss_and_grad, *first), microseconds(gradient_by_hand, *first)
    print(f"loss and gradient: {ours:.0f} µs a step; by hand in NumPy: {by_hand:.0f} µs ({by_hand / ours:.2f} times)")
    draw(history, options.out)
    print(f"loss curve: {options.out}")
    return accuracy


if __name__ == "__main__":
    main()
