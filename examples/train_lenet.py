"""Train LeNet-5 on MNIST: the recipe of the shipped weights.

    python examples/train_lenet.py --variant paper --data mnist.npz --out weights/

Both variants are trained alike, on 55,000 of the 60,000 training digits; the other
5,000 judged this recipe, the 10,000 test digits are read once, at the end. Each epoch
shows every digit slightly shifted, turned, scaled and sheared. The modern variant
minimises cross-entropy, the paper's variant the paper's discriminative criterion: the
distance of the right class, and a penalty that keeps the wrong ones away.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy import ndimage

from convzoo import lenet, save_weights
from convzoo.pretrained.records import Record, weights_info

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


def load_mnist(path: str | None) -> dict[str, NDArray[np.uint8]]:
    """Read MNIST's four arrays from a file, or from Keras."""
    if path is not None:
        with np.load(path) as file:
            return dict(file)
    train, test = keras.datasets.mnist.load_data()
    names = ("x_train", "y_train", "x_test", "y_test")
    return dict(zip(names, (*train, *test), strict=True))


def distort(image: NDArray[np.uint8], random: np.random.Generator) -> Floats:
    """Shift by up to 2 pixels; turn, scale and shear by up to 15 %."""
    a, b, c, d = random.uniform(-0.15, 0.15, 4)
    matrix = np.array([[1 + a, b], [c, 1 + d]])
    centre = np.array([13.5, 13.5])
    offset = centre - matrix @ centre + random.uniform(-2, 2, 2)
    return np.asarray(
        ndimage.affine_transform(image.astype("float32"), matrix, offset, order=1),
        "float32",
    )


def field(images: NDArray[np.generic], record: Record) -> Floats:
    """Put 28 x 28 digits into 32 x 32 fields, background -0.1, ink 1.175."""
    padded = np.pad(images.astype("float32"), ((0, 0), (2, 2), (2, 2)))[..., None]
    return np.asarray((padded / 255 - record.mean[0]) / record.std[0], "float32")


def maximum_a_posteriori(j: float = 1.0) -> keras.losses.Loss:
    """Return the paper's criterion for scores that are negated distances."""

    def loss(labels: object, scores: keras.KerasTensor) -> keras.KerasTensor:
        right = ops.sum(scores * ops.one_hot(labels, scores.shape[-1]), axis=-1)
        floor = ops.full_like(scores[:, :1], -j)
        return ops.logsumexp(ops.concatenate([scores, floor], -1), axis=-1) - right

    return loss


class Distorted(keras.utils.PyDataset):  # type: ignore[misc]
    """The training digits, distorted anew in each epoch."""

    def __init__(
        self, images: Images, labels: Images, record: Record, batch: int, seed: int
    ) -> None:
        super().__init__()
        self.images, self.labels, self.record = images, labels, record
        self.batch, self.random = batch, np.random.default_rng(seed)
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        """Shuffle."""
        self.order = self.random.permutation(len(self.images))

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.images) // self.batch

    def __getitem__(self, index: int) -> tuple[Floats, Images]:
        """Return one batch of distorted digits."""
        chosen = self.order[index * self.batch : (index + 1) * self.batch]
        digits = np.stack([distort(self.images[i], self.random) for i in chosen])
        return field(digits, self.record), self.labels[chosen]


def error(model: keras.Model, images: Floats, labels: Images) -> float:
    """Return the share of wrong answers, in percent."""
    answers = np.argmax(model.predict(images, batch_size=500, verbose=0), axis=-1)
    return 100 * float(np.mean(answers != labels))


def train(
    variant: str, mnist: dict[str, Images], epochs: int, seed: int, digits: int
) -> tuple[keras.Model, dict[str, float]]:
    """Train one variant; return it with its errors in percent."""
    keras.utils.set_random_seed(seed)
    record = weights_info("lenet", "mnist", variant)
    order = np.random.default_rng(seed).permutation(len(mnist["x_train"]))
    held_out, kept = order[:5000], order[5000:][:digits]
    batches = Distorted(
        mnist["x_train"][kept], mnist["y_train"][kept], record, batch=64, seed=seed
    )
    model = lenet(variant=variant, classifier_activation=None)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * len(batches))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-3),
        loss=maximum_a_posteriori() if variant == "paper" else loss,
    )
    validation = field(mnist["x_train"][held_out], record)
    for epoch in range(1, epochs + 1):
        start = time.monotonic()
        history = model.fit(batches, epochs=1, verbose=0).history
        wrong = error(model, validation, mnist["y_train"][held_out])
        print(
            f"epoch {epoch:2d}/{epochs}  loss {history['loss'][0]:.4f}  "
            f"held-out error {wrong:.2f} %  {time.monotonic() - start:.0f} s",
            flush=True,
        )
    test = error(model, field(mnist["x_test"], record), mnist["y_test"])
    return model, {"held_out": round(wrong, 2), "test": round(test, 2)}


def main() -> None:
    """Train, measure, save."""
    parser = argparse.ArgumentParser(description="Train LeNet-5 on MNIST.")
    parser.add_argument("--variant", choices=("modern", "paper"), default="modern")
    parser.add_argument("--data", help="mnist.npz; by default Keras downloads its copy")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1998)
    parser.add_argument("--digits", type=int, default=55_000, help="train on fewer")
    parser.add_argument("--out", type=Path, default=Path("weights"))
    options = parser.parse_args()
    model, errors = train(
        options.variant,
        load_mnist(options.data),
        options.epochs,
        options.seed,
        options.digits,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"lenet-{options.variant}-mnist.safetensors"
    save_weights(model, path)
    print(json.dumps({"file": str(path), **errors}))


if __name__ == "__main__":
    main()
