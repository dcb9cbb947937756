"""Every builder on the backend of KERAS_BACKEND: builds, learns, is saved and read."""

import os

import keras
import numpy as np
import pytest

import convzoo
from convzoo.catalog import CATALOG

pytestmark = pytest.mark.backends

# The stride's place is one line in `bottleneck`: ResNet-50 shows it for 101 and 152;
# 18 and 34 have no second variant.
SAME = {(f"resnet{depth}", "v1.5") for depth in (18, 34, 101, 152)}
CASES = [
    (name, variant)
    for name, entry in CATALOG.items()
    for variant in entry.variants
    if (name, variant) not in SAME
]


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_learns_and_survives_saving(name, variant, tmp_path):
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    form = CATALOG[name].variants[variant]
    side = 64 if name == "unet" and variant == "same" else form.minimum
    shape = (side, side, form.input_shape[-1])
    settings = {"filters": 8} if name == "unet" else {"classes": 5}
    model = getattr(convzoo, name)(
        variant=variant,
        input_shape=shape,
        dropout=0.0,
        classifier_activation=None,
        **settings,
    )
    random = np.random.default_rng(0)
    images = random.normal(size=(8, *shape)).astype("float32")
    labels = random.integers(0, model.output_shape[-1], (8, *model.output_shape[1:-1]))
    labels = np.eye(model.output_shape[-1], dtype="float32")[labels]
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    # A step of at most 1e-4: on maps of one pixel batch norm makes the loss rugged, and
    # behind 152 layers one of 1e-3 climbs.
    step = keras.optimizers.SGD(1e-2, global_clipnorm=0.01)
    model.compile(step, loss)
    # The second call's loss is that of the same batch after the first call's step.
    before, after = (float(model.train_on_batch(images, labels)) for _ in "12")
    print(f"{keras.backend.backend()} {name} {variant}: {before:.6f} -> {after:.6f}")
    assert after < before

    path = tmp_path / "model.keras"
    model.save(path)
    expected = model.predict(images[:2], verbose=0)
    found = convzoo.load_model(path).predict(images[:2], verbose=0)
    np.testing.assert_array_equal(found, expected)


def test_the_backend_is_the_one_asked_for():
    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]
