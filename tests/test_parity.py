"""Equal outputs: random weights moved from keras.applications into the zoo's
networks."""

import re

import keras
import numpy as np
import pytest
from calibrated import (
    assert_sensitive,
    calibrate,
    difference,
    images,
    outputs,
    randomize,
)

import convzoo
from convzoo.anatomy import links

pytestmark = pytest.mark.slow

MOBILENET_BLOCKS = [
    f"stage{stage}_block{block}"
    for stage, blocks in enumerate((1, 2, 2, 6, 2), start=1)
    for block in range(1, blocks + 1)
]


def vgg(name, reference, ours):
    del reference, ours
    return re.sub(r"^(fc\d|predictions)", r"head_\1", name)


def mobilenet(name, reference, ours):
    del reference, ours
    if name == "conv_preds":
        return "head_predictions"
    block = re.fullmatch(r"conv_(dw|pw)_(\d+)(_bn)?", name)
    if block:
        part = f"{block[1]}_bn" if block[3] else f"{block[1]}_conv"
        return f"{MOBILENET_BLOCKS[int(block[2]) - 1]}_{part}"
    return {"conv1": "conv1_conv"}.get(name, name)


def xception(name, reference, ours):
    del ours
    block = re.fullmatch(r"block(\d+)_(sep)?conv(\d)(_bn)?", name)
    if block:
        number, sep, i, norm = block.groups()
        flow = "entry" if int(number) < 5 else "middle" if int(number) < 13 else "exit"
        part = f"{'sep' if sep else 'conv'}{i}_{'bn' if norm else 'conv'}"
        return f"{flow}_block{number}_{part}"
    if name == "predictions":
        return "head_predictions"
    # The shortcuts' layers carry numbers of the process; their order is what counts.
    kind = "conv2d" if name.startswith("conv2d") else "batch_normalization"
    same = sorted(numbered(reference, kind), key=number_of)
    shortcut = ("entry_block2", "entry_block3", "entry_block4", "exit_block13")
    part = "conv" if kind == "conv2d" else "bn"
    return f"{shortcut[same.index(name)]}_shortcut_{part}"


def inception_v3(name, reference, ours):
    if name == "predictions":
        return "head_predictions"
    kind, part = ("conv2d", "_conv") if name.startswith("conv2d") else (None, "_bn")
    same = sorted(numbered(reference, kind or "batch_normalization"), key=number_of)
    names = [layer for layer in links(ours) if layer.endswith(part)]
    return names[same.index(name)]


def numbered(model, kind):
    return [
        layer.name
        for layer in model.layers
        if re.fullmatch(rf"{kind}(_\d+)?", layer.name)
    ]


def number_of(name):
    return int((re.search(r"_(\d+)$", name) or [0, 0])[1])


def transfer(reference, ours, rename):
    """Move every weight; a bias before batch norm goes into the moving mean, another
    epsilon into the moving variance.
    """
    filled = set()
    for layer in reference.layers:
        if not layer.weights:
            continue
        target = ours.get_layer(rename(layer.name, reference, ours))
        values = {w.name: keras.ops.convert_to_numpy(w) for w in layer.weights}
        if target.name.endswith("_bn"):
            conv = target.name.removesuffix("_bn") + "_conv"
            source = [
                name
                for name in (layer.name.removesuffix("_bn"), layer.name[:-2] + "conv")
                if name in {other.name for other in reference.layers}
            ]
            bias = (
                getattr(reference.get_layer(source[0]), "bias", None)
                if source
                else None
            )
            if bias is not None and not ours.get_layer(conv).use_bias:
                values["moving_mean"] -= keras.ops.convert_to_numpy(bias)
            values["moving_variance"] += layer.epsilon - target.epsilon
        for weight in target.weights:
            value = values[weight.name]
            weight.assign(value.reshape(weight.shape))
            filled.add(weight.path)
    assert filled == {w.path for layer in ours.layers for w in layer.weights}


CASES = {
    "vgg16": (keras.applications.VGG16, vgg, {}, (224, 96)),
    "vgg19": (keras.applications.VGG19, vgg, {}, (224, 96)),
    "resnet50": (keras.applications.ResNet50, vgg, {}, (224, 135)),
    "resnet101": (keras.applications.ResNet101, vgg, {}, (224, 135)),
    "resnet152": (keras.applications.ResNet152, vgg, {}, (224, 135)),
    "inception_v3": (keras.applications.InceptionV3, inception_v3, {}, (299, 180)),
    "xception": (keras.applications.Xception, xception, {}, (299, 150)),
    "mobilenet": (keras.applications.MobileNet, mobilenet, {"alpha": 1.0}, (224, 170)),
    "mobilenet-0.25": (
        keras.applications.MobileNet,
        mobilenet,
        {"alpha": 0.25},
        (224, 170),
    ),
}


@pytest.fixture(autouse=True)
def double_precision():
    """Leave rounding out: fifty layers make 2e-5 of single precision's last bit."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("top", [True, False], ids=["top", "no-top"])
@pytest.mark.parametrize("size", [0, 1], ids=["default-size", "other-size"])
@pytest.mark.parametrize("case", CASES)
def test_equals_keras_applications(case, size, top):
    build, rename, options, sizes = CASES[case]
    builder = case.split("-")[0]
    shape = (sizes[size], sizes[size], 3)
    keras.backend.clear_session()
    head = {"classifier_activation": None} if top else {}
    reference = build(
        weights=None,
        include_top=top,
        input_shape=shape,
        **head,
        **options,
        **({"dropout": 0.0} if builder == "mobilenet" else {}),
    )
    ours = getattr(convzoo, builder)(
        include_top=top,
        input_shape=shape,
        **head,
        **options,
        **({"dropout": 0.0} if top else {}),
    )
    batch = images(shape)
    randomize(reference)
    calibrate(reference, batch)
    transfer(reference, ours, rename)
    assert_sensitive(reference, batch, shape)
    for training in (False, True):
        expected = outputs(reference, batch, training)
        error = difference(outputs(ours, batch, training), expected)
        print(f"{case} {shape[0]} px, training={training}: {error:.1e}")
        assert error <= 1e-5
        assert np.isfinite(expected).all()
