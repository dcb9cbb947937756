"""Equal outputs: files of keras.applications with random weights, read by the zoo."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from calibrated import (
    assert_sensitive,
    calibrate,
    difference,
    double_precision,
    outputs,
    randomize,
)
from drawn import pictures
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

import convzoo
from convzoo.pretrained.records import weights_info

slow = pytest.mark.slow


class Case(NamedTuple):
    theirs: str
    module: str  # in keras.applications, for preprocess_input
    sizes: tuple[int, int]  # the default and another
    options: Mapping[str, float] = MappingProxyType({})

    @property
    def preprocess(self):
        return getattr(keras.applications, self.module).preprocess_input

    def reference(self, side, top):
        arguments = dict(self.options)
        if top:
            arguments["classifier_activation"] = None
        if self.theirs == "MobileNet":
            arguments["dropout"] = 0.0
        keras.backend.clear_session()
        return getattr(keras.applications, self.theirs)(
            weights=None, include_top=top, input_shape=(side, side, 3), **arguments
        )


CASES = {
    "vgg16": Case("VGG16", "vgg16", (224, 96)),
    "vgg19": Case("VGG19", "vgg19", (224, 96)),
    "resnet50": Case("ResNet50", "resnet", (224, 135)),
    "resnet101": Case("ResNet101", "resnet", (224, 135)),
    "resnet152": Case("ResNet152", "resnet", (224, 135)),
    "inception_v3": Case("InceptionV3", "inception_v3", (299, 180)),
    "xception": Case("Xception", "xception", (299, 150)),
    "mobilenet": Case("MobileNet", "mobilenet", (224, 170), {"alpha": 1.0}),
    "mobilenet-0.25": Case("MobileNet", "mobilenet", (224, 170), {"alpha": 0.25}),
}


def built(case, path, top, **arguments):
    """Build ours from a file."""
    if top:
        arguments |= {"classifier_activation": None, "dropout": 0.0}
    build = getattr(convzoo, case.split("-")[0])
    return build(weights=path, include_top=top, **arguments)


def save_legacy(model, path):
    """Write the files that keras.applications publishes."""
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)


@slow
@pytest.mark.parametrize("top", [True, False], ids=["top", "no-top"])
@pytest.mark.parametrize("size", [0, 1], ids=["default-size", "other-size"])
@pytest.mark.parametrize("case", CASES)
def test_equals_keras_applications(case, size, top, tmp_path):
    with double_precision():
        check_outputs(case, CASES[case].sizes[size], top, tmp_path / "weights")


def check_outputs(case, side, top, path):
    options, preprocess = CASES[case].options, CASES[case].preprocess
    reference = CASES[case].reference(side, top)
    images = pictures(side).astype(np.float64)
    theirs = preprocess(images.copy())
    randomize(reference)
    calibrate(reference, theirs)
    save_legacy(reference, path)
    ours = built(case, path, top, input_shape=(side, side, 3))
    path.unlink()
    facts = ours.origin
    record = weights_info(facts.builder, "imagenet", facts.variant, **options)
    assert facts.scaling == (record.mean, record.std)
    batch = (images / 255 - record.mean) / record.std
    other = preprocess(pictures(side, seed=9).astype(np.float64))
    assert_sensitive(lambda changed: outputs(reference, changed), theirs, another=other)
    for training in (False, True):
        expected = outputs(reference, theirs, training)
        error = difference(outputs(ours, batch, training), expected)
        print(f"{case} {side} px, training={training}: {error:.1e}")
        # In training Keras' epsilon of 1.001e-5 is not absorbed; see `randomize`.
        assert error <= (1e-5 if training else 1e-10)
        assert np.isfinite(expected).all()


def save_checkpoint(model, path):
    """Write a checkpoint as Keras 2's `save_weights` named it."""
    root = tf.train.Checkpoint()
    weighted = [layer for layer in model.layers if layer.weights]
    for number, layer in enumerate(weighted):
        node = tf.train.Checkpoint()
        for weight in layer.weights:
            name = weight.name
            if isinstance(layer, keras.layers.DepthwiseConv2D) and name == "kernel":
                name = "depthwise_kernel"
            setattr(node, name, tf.Variable(weight))
        setattr(root, f"layer_with_weights-{number}", node)
    root.write(str(path))


def save_renamed(model, path):
    """Write a legacy file whose names say nothing, as another process names layers."""
    save_legacy(model, path)
    with h5py.File(path, "a") as file:
        names = {name: f"x_{i}" for i, name in enumerate(file.attrs["layer_names"])}
        for name, other in names.items():
            file.move(name, other)
        file.attrs["layer_names"] = np.array([*names.values()], "S")


def save_split(model, path):
    """Write a legacy file whose lists of names take several attributes, as long ones
    do."""
    save_legacy(model, path)
    with h5py.File(path, "a") as file:
        layers = [file[name] for name in file.attrs["layer_names"]]
        for group, key in [
            (file, "layer_names"),
            *((g, "weight_names") for g in layers),
        ]:
            names = group.attrs.pop(key)
            for number, part in enumerate(np.array_split(names, 3)):
                group.attrs[f"{key}{number}"] = part.astype("S")


FORMATS = {
    "full.h5": lambda model, path: model.save(path),
    "x.weights.h5": lambda model, path: model.save_weights(path),
    "x.keras": lambda model, path: model.save(path),
    "checkpoint": save_checkpoint,
    "renamed.h5": save_renamed,
    "split.h5": save_split,
}
NAMED = ("full.h5", "x.weights.h5", "x.keras")  # may be the zoo's own by their names


@pytest.mark.parametrize(
    ("case", "top"),
    [
        pytest.param(case, top, marks=() if case == "mobilenet-0.25" else slow)
        for case in ("vgg16", "resnet50", "inception_v3", "xception", "mobilenet-0.25")
        for top in (True, False)
    ],
)
def test_every_format_fills_alike(case, top, tmp_path):
    """What the legacy file does is compared by outputs, the others with it."""
    side = CASES[case].sizes[0]
    reference = CASES[case].reference(side, top)
    randomize(reference)
    path = tmp_path / "weights.h5"
    save_legacy(reference, path)
    ours = built(case, path, top, input_shape=(side, side, 3))
    expected = ours.get_weights()
    path.unlink()
    for suffix, save in FORMATS.items():
        path = tmp_path / suffix
        save(reference, path)
        ours.set_weights([np.zeros_like(value) for value in expected])
        if case == "vgg16" and not top and suffix in NAMED:
            with pytest.raises(ValueError, match="for BGR or the zoo's for RGB"):
                convzoo.load_weights(ours, path)
            continue
        convzoo.load_weights(ours, path)
        for found, right in zip(ours.weights, expected, strict=True):
            message = f"{suffix}: {found.path}"
            np.testing.assert_array_equal(found, right, err_msg=message)
        path.unlink(missing_ok=True)
