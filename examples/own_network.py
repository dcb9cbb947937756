"""Compose a network of your own from the zoo's blocks and train it for a minute.

    pip install convzoo scikit-learn
    python examples/own_network.py

The data are scikit-learn's 1,797 digits of 8 x 8 pixels, which come with it. The
network is residual first, then Inception at half size; since its layers are named by
the zoo's rule, `stages`, `summary` and `plot_model` explain it like any model of the
zoo.
"""

from __future__ import annotations

import argparse
from functools import partial

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from convzoo import plot_model, stages, summary
from convzoo.blocks.convolution import KERAS, convolution
from convzoo.blocks.head import classifier_head
from convzoo.blocks.inception import inception
from convzoo.blocks.residual import basic, conv_block, identity_block


def digit_net() -> keras.Model:
    """Build a network for (batch, 8, 8, 1) images in [0, 1] and ten classes."""
    conv = partial(convolution, norm=KERAS)
    image = keras.Input((8, 8, 1), name="image")
    x = conv(image, 16, 3, name="conv1")
    x = identity_block(x, 16, branch=basic, name="conv2_block1")
    x = conv_block(x, 32, branch=basic, name="conv3_block1")
    x = inception(x, 16, 16, 32, 4, 8, 8, conv=conv, name="inception_4a")
    return keras.Model(image, classifier_head(x, 10, dropout=0.2), name="digit_net")


def main() -> None:
    """Train on three quarters of the digits, report the error on the rest."""
    parser = argparse.ArgumentParser(description="Train a network of your own.")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--plot", help="also draw it, to this .svg, .png or .pdf file")
    options = parser.parse_args()

    keras.utils.set_random_seed(0)
    digits, labels = load_digits(return_X_y=True)
    images = (digits / 16).reshape(-1, 8, 8, 1).astype("float32")
    x, x_test, y, y_test = train_test_split(images, labels, random_state=0)

    model = digit_net()
    summary(model).print()
    for stage in stages(model):
        print(f"{stage.name:12} stride {stage.stride}, {len(stage.layers)} layers")
    if options.plot:
        plot_model(model).save(options.plot)

    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=options.epochs, verbose=2)
    answers = np.argmax(model.predict(x_test, verbose=0), axis=-1)
    wrong = int(np.sum(answers != y_test))
    print(f"{wrong} of {len(y_test)} wrong: {100 * wrong / len(y_test):.1f} % error")


if __name__ == "__main__":
    main()
