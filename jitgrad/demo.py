"""Train a classifier of hand-written digits: `python -m jitgrad demo`.

Everything from the layers to the optimiser is plain Python and NumPy; `value_and_grad` is all there is of jitgrad, and
the gradient of a model is a model. Afterwards the gradient is timed beside one written by hand, and the loss is drawn.
"""

from __future__ import annotations

import argparse
import copy
import timeit
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import jitgrad

try:
    from matplotlib.figure import Figure
    from sklearn.datasets import load_digits
    from tqdm import tqdm
except ImportError as missing:
    raise SystemExit(f"The demo needs {missing.name}. To install all it needs: pip install '.[demo]'") from missing

__all__ = ["Linear", "Model", "by_hand", "difference_error", "loss", "loss_and_gradient", "main", "train"]
BATCH = 32


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
    """Layers, one after the other: any callables."""

    layers: list[Any]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        for layer in self.layers:
            x = layer(x)
        return x

    def parameters(self) -> list[np.ndarray]:
        """Return the arrays of the model; of a gradient, those of the gradient."""
        linear = [layer for layer in self.layers if isinstance(layer, Linear)]
        return [p for layer in linear for p in (layer.w, layer.b) if p is not None]


def loss(model: Model, images: np.ndarray, labels: np.ndarray) -> Any:
    """Return the mean cross-entropy between the labels and the softmax of the model's logits."""
    logits = model(images)
    logits = logits - logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels].mean()


loss_and_gradient = jitgrad.value_and_grad(loss)


def train(model: Model, images: np.ndarray, labels: np.ndarray, epochs: int, rng: np.random.Generator) -> list[float]:
    """Train a model in place by gradient descent with momentum; return the loss of each step."""
    steps = len(labels) // BATCH
    velocity = [np.zeros_like(p) for p in model.parameters()]
    history = []
    with tqdm(total=epochs * steps, unit=" steps") as bar:
        for _ in range(epochs):
            for batch in rng.permutation(len(labels))[: steps * BATCH].reshape(steps, BATCH):
                value, gradient = loss_and_gradient(model, images[batch], labels[batch])
                for p, v, g in zip(model.parameters(), velocity, gradient.parameters(), strict=True):
                    v *= 0.9
                    v -= 0.1 * g
                    p += v
                history.append(float(value))
                bar.update()
            bar.set_postfix(loss=f"{np.mean(history[-steps:]):.4f}")
    return history


def by_hand(model: Model, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Model]:
    """Return what `loss_and_gradient` returns for two layers and tanh, as one writes it without a tool."""
    first, activation, last = model.layers
    rows = np.arange(len(labels))
    hidden = activation(first(images))
    logits = last(hidden)
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    ct = exp / exp.sum(axis=1, keepdims=True)
    value = -np.log(ct[rows, labels]).mean()
    ct[rows, labels] -= 1.0
    ct /= len(labels)
    ct_hidden = (ct @ last.w.T) * (1.0 - hidden * hidden)
    gradients = Linear(images.T @ ct_hidden, ct_hidden.sum(axis=0)), Linear(hidden.T @ ct, ct.sum(axis=0))
    return value, Model([gradients[0], activation, gradients[1]])


def difference_error(model: Model, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> float:
    """Return the relative error of the gradient against central differences in ten random directions."""
    gradient = loss_and_gradient(model, images, labels)[1]
    slopes, differences = np.zeros(10), np.zeros(10)
    for k in range(10):
        ahead, behind = copy.deepcopy(model), copy.deepcopy(model)
        for p, q, g in zip(ahead.parameters(), behind.parameters(), gradient.parameters(), strict=True):
            direction = 1e-5 * rng.standard_normal(g.shape)
            p += direction
            q -= direction
            slopes[k] += np.vdot(g, direction)
        differences[k] = (loss(ahead, images, labels) - loss(behind, images, labels)) / 2.0
    return float(np.linalg.norm(slopes - differences) / np.linalg.norm(differences))


def main(arguments: Sequence[str] | None = None) -> float:
    """Run the demo; return the accuracy on the test images."""
    parser = argparse.ArgumentParser(prog="python -m jitgrad demo", description="Train a classifier of digits.")
    parser.add_argument("--out", type=Path, default=Path("demo.png"), help="where the loss curve goes (demo.png)")
    parser.add_argument("--epochs", type=int, default=40, help="passes over the training images (40)")
    options = parser.parse_args(arguments)

    rng = np.random.default_rng(0)
    images, labels = load_digits(return_X_y=True)
    images = images / 16.0
    training, test = np.split(rng.permutation(len(labels)), [1437])
    layers = [Linear(rng.standard_normal((n, m)) / np.sqrt(n), np.zeros(m)) for n, m in ((64, 128), (128, 10))]
    model = Model([layers[0], np.tanh, layers[1]])
    batch = images[training[:BATCH]], labels[training[:BATCH]]
    print(f"gradient against finite differences: relative error {difference_error(model, *batch, rng):.1e}")
    history = train(model, images[training], labels[training], options.epochs, rng)
    accuracy = float(np.mean(model(images[test]).argmax(axis=1) == labels[test]))
    print(f"test accuracy: {accuracy:.1%} of {len(test)} images kept apart from training")
    times = [min(timeit.repeat(partial(f, model, *batch), number=20)) * 5e4 for f in (loss_and_gradient, by_hand)]
    print("loss and gradient: {:.0f} µs; by hand in NumPy: {:.0f} µs; ratio {:.2f}".format(*times, times[0] / times[1]))

    axes = (figure := Figure(figsize=(7, 4), layout="constrained")).subplots()
    axes.semilogy(history, linewidth=0.8)
    axes.set(xlabel="step", ylabel="cross-entropy", title=f"Hand-written digits: test accuracy {accuracy:.1%}")
    figure.savefig(options.out, dpi=120)
    print(f"loss curve: {options.out}")
    return accuracy
