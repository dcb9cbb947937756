"""Weights go into files and come back, completely and exactly, or not at all."""

import warnings

import keras
import numpy as np
import pytest
from calibrated import difference
from keras import layers
from small_nets import (
    FORMATS,
    answers,
    equal,
    randomised,
    refused,
    rewritten,
    saved,
    tiny,
    values,
)

import convzoo
from convzoo import lenet, load_weights, save_weights
from convzoo.models.plan import Origin
from convzoo.pretrained import files
from convzoo.pretrained.matching import adapt_channels


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_comes_back_exactly(tmp_path, name):
    model, other = tiny(), tiny(name="renamed")
    assert not equal(model, other)
    report = load_weights(other, saved(model, tmp_path / name))
    assert equal(model, other)
    np.testing.assert_array_equal(answers(model), answers(other))
    assert report.format == name.removeprefix("tiny.")
    assert report.source == str(tmp_path / name)
    assert report.filled == (
        "conv1/kernel",
        "conv1/bias",
        "conv1_bn/gamma",
        "conv1_bn/beta",
        "conv1_bn/moving_mean",
        "conv1_bn/moving_variance",
        "conv2/depthwise_kernel",
        "conv2/pointwise_kernel",
        "conv2/bias",
        "head_predictions/kernel",
        "head_predictions/bias",
    )
    assert (report.kept, report.unused, report.adapted) == ((), (), ())


@pytest.mark.parametrize("name", FORMATS)
def test_the_content_decides_not_the_suffix(tmp_path, name):
    model, other = tiny(), tiny()
    path = saved(model, tmp_path / name).rename(tmp_path / "weights.bin")
    load_weights(other, str(path))
    assert equal(model, other)


def test_batch_norm_statistics_keep_their_order(tmp_path):
    model, other = tiny(), tiny()
    for number, variable in enumerate(model.get_layer("conv1_bn").weights):
        variable.assign(np.full(variable.shape, number + 1))
    model.get_layer("conv1_bn").trainable = False
    load_weights(other, saved(model, tmp_path / "tiny.weights.h5"))
    bn = other.get_layer("conv1_bn")
    order = (bn.gamma, bn.beta, bn.moving_mean, bn.moving_variance)
    found = [keras.ops.convert_to_numpy(variable).mean() for variable in order]
    assert found == [1, 2, 3, 4]


def test_a_compiled_and_trained_model_is_read(tmp_path):
    model, other = tiny(), tiny()
    model.compile("adam", "categorical_crossentropy")
    model.fit(np.ones((2, 8, 8, 3)), np.eye(3)[:2], verbose=0)
    for name in FORMATS:
        load_weights(randomised(other), saved(model, tmp_path / name))
        assert equal(model, other)


def test_a_model_inside_the_file_is_read_flat(tmp_path):
    body = tiny(top=False, name="body")
    image = keras.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D(name="head_pool")(body(image))
    nested = keras.Model(image, layers.Dense(3, name="head_predictions")(pooled))
    other = tiny(activation=None)
    for name in FORMATS[1:]:
        load_weights(randomised(other), saved(nested, tmp_path / name))
        assert difference(answers(nested), answers(other)) < 1e-6


def test_half_precision_is_kept_and_widened(tmp_path):
    model, other = tiny(dtype="bfloat16"), tiny()
    for name in FORMATS:
        path = saved(model, tmp_path / name)
        dtypes = {array.dtype.name for array in files.read(path).tensors.values()}
        assert dtypes == {"bfloat16", "float32"}
        load_weights(randomised(other), path)
        assert equal(model, other)


def test_a_freshly_built_zoo_model_comes_back(tmp_path):
    for variant in ("modern", "paper"):
        model, other = (randomised(lenet(variant=variant)) for _ in range(2))
        path = save_weights(model, tmp_path / f"{variant}.safetensors")
        load_weights(other, path)
        assert equal(model, other)
        facts = {"builder": "lenet", "variant": variant, "options": {}, "classes": 10}
        assert files.read(path).metadata == {**facts, "input_shape": [32, 32, 1]}


def test_a_bad_last_array_changes_nothing(tmp_path):
    path = save_weights(tiny(), tmp_path / "a.safetensors")

    def nan(tensors):
        tensors["head_predictions/bias"] = np.array([0, 1, np.nan], "float32")

    refused(
        tiny(),
        rewritten(path, nan),
        r"'head_predictions/bias' must be finite in float32",
    )

    def narrow(tensors):
        tensors["head_predictions/bias"] = np.ones(2, "float32")

    refused(
        tiny(),
        rewritten(path, narrow),
        r"not fit the model 'tiny': 'head_predictions/bias' must have shape \(3,\), "
        r"found \(2,\); to keep a head of the model's own pass classes=",
    )


def test_missing_and_extra_arrays_are_named(tmp_path):
    path = save_weights(tiny(), tmp_path / "a.safetensors")
    refused(
        tiny(),
        rewritten(path, lambda tensors: tensors.pop("conv1_bn/beta")),
        r"the file lacks 'conv1_bn/beta', which the model has\.",
    )
    for name in ("conv9/kernel", "conv1/extra", "head_predictions/extra"):

        def extend(tensors, name=name):
            tensors[name] = np.ones(1, "float32")

        refused(
            tiny(), rewritten(path, extend), f"holds '{name}', which the model lacks"
        )


def test_numbers_must_be_floats_that_fit(tmp_path):
    path = save_weights(tiny(), tmp_path / "a.safetensors")

    def convert(dtype, factor=1):
        def change(tensors):
            tensors["conv1/bias"] = tensors["conv1/bias"].astype(dtype) * np.array(
                factor, dtype
            )

        return rewritten(path, change)

    refused(tiny(), convert("int32"), r"'conv1/bias' must hold floats, found int32")
    refused(tiny(), convert("bool"), r"'conv1/bias' must hold floats, found bool")
    refused(
        tiny(), convert("float64", 1e300), r"'conv1/bias' must be finite in float32"
    )
    model = tiny()
    load_weights(model, convert("float64"))
    load_weights(model, convert("float16"))
    expected = files.read(path).tensors["conv1/bias"].read().astype("float16")
    np.testing.assert_array_equal(values(model)[1], expected.astype("float32"))


@pytest.mark.parametrize("name", FORMATS)
def test_heads_that_the_model_lacks_are_reported(tmp_path, name):
    path = saved(full := tiny(aux=True), tmp_path / name)
    body = tiny(top=False)
    report = load_weights(body, path)
    assert len(report.unused) == 4
    assert {tensor.split("/")[0] for tensor in report.unused} == {
        "aux1_predictions",
        "head_predictions",
    }
    assert len(report.filled) == 9
    load_weights(without_aux := tiny(), path)
    np.testing.assert_array_equal(answers(without_aux), answers(full)["main"])
    refused(tiny(aux=True), saved(tiny(), tmp_path / name), r"lacks 'aux1_predictions/")


def test_a_file_without_a_head_points_to_skip_head(tmp_path):
    path = save_weights(tiny(top=False), tmp_path / "a.safetensors")
    refused(
        tiny(), path, r"the file has no head: pass skip_head=True to keep the model's"
    )
    report = load_weights(tiny(), path, skip_head=True)
    assert report.kept == ("head_predictions/kernel", "head_predictions/bias")
    assert report.unused == ()


@pytest.mark.parametrize("name", FORMATS)
def test_skip_head_leaves_the_head_alone(tmp_path, name):
    model, other = tiny(classes=3), tiny(classes=7)
    path = saved(model, tmp_path / name)
    refused(
        other,
        path,
        r"shape \(5, 7\), found \(5, 3\); to keep a head of the model's own",
    )
    before = values(other)
    report = load_weights(other, path, skip_head=True)
    after = values(other)
    for index in range(9):
        np.testing.assert_array_equal(after[index], values(model)[index])
    for index in (9, 10):
        np.testing.assert_array_equal(after[index], before[index])
    assert report.kept == ("head_predictions/kernel", "head_predictions/bias")
    assert len(report.unused) == 2
    assert len(report.filled) == 9


@pytest.mark.parametrize("name", ["a.safetensors", "a.keras"])
def test_settings_that_shapes_cannot_show_are_compared(tmp_path, name):
    path = saved(tiny(), tmp_path / name)
    refused(
        tiny(strides=(1, 2)),
        path,
        r"the layer 'conv1' has strides \[2, 2\] in the file and \[1, 1\] in the model",
    )
    refused(
        tiny(epsilon=1e-5), path, r"'conv1_bn' has epsilon 0\.001 in the file and 1e"
    )
    refused(tiny(middle="elu"), path, r"'conv1_relu' has activation 'relu' in the file")
    refused(
        tiny(middle=None), path, r"the file has a layer 'conv1_relu', which the model"
    )
    bare = saved(tiny(middle=None), tmp_path / name)
    refused(tiny(), bare, r"the model has a layer 'conv1_relu', which the file lacks")


def test_the_right_call_is_named(tmp_path):
    model, other = tiny(), tiny(strides=(1, 2))
    for net, variant in ((model, "v1"), (other, "v1.5")):
        origin = Origin("resnet50", variant, {"batch_norm": True}, 3, True, None)
        object.__setattr__(net, "origin", origin)
    path = save_weights(model, tmp_path / "a.safetensors")
    hint = (
        r"; the file holds resnet50 of variant 'v1': "
        r"build resnet50\(variant='v1', batch_norm=True\)\.$"
    )
    refused(other, path, hint)
    refused(tiny(width=6), path, hint)
    text = refused(model, rewritten(path, dict.clear), r"lacks .* and 6 more, which")
    assert "the file holds" not in text


def test_weights_without_settings_are_trusted(tmp_path):
    # Keras' own .weights.h5 tells nothing but names and shapes.
    model, other = tiny(), tiny(strides=(1, 2))
    load_weights(other, saved(model, tmp_path / "a.weights.h5"))
    assert equal(model, other)


def test_heads_may_differ_in_activation_and_pooling(tmp_path):
    path = save_weights(model := tiny(), tmp_path / "a.safetensors")
    logits = tiny(activation=None)
    load_weights(logits, path)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(answers(logits)))
    assert difference(answers(model), expected) < 1e-5
    body = tiny(top=False)
    pooled = layers.GlobalMaxPooling2D(name="head_pool")(body.output)
    load_weights(keras.Model(body.input, pooled), path)


def test_layers_that_follow_the_image_size_are_not_compared(tmp_path):
    def net(size, crop):
        image = keras.Input((size, size, 1), name="image")
        x = layers.Conv2D(2, 3, name="conv1")(image)
        if crop:
            x = layers.Cropping2D(crop, name="up1_match_crop")(x)
            x = layers.ZeroPadding2D(crop, name="up1_match_pad")(x)
        return keras.Model(image, layers.Conv2D(1, 1, name="head_predictions")(x))

    path = save_weights(net(16, 2), tmp_path / "a.safetensors")
    for other in (net(12, 1), net(9, 0)):
        load_weights(other, path)
    save_weights(net(9, 0), path)
    load_weights(net(16, 2), path)


def test_training_settings_do_not_matter(tmp_path):
    path = save_weights(tiny(), tmp_path / "a.safetensors")
    config = tiny().get_config()
    for layer in config["layers"]:
        if layer["class_name"] == "BatchNormalization":
            layer["config"]["momentum"] = 0.5
        if layer["class_name"] == "Dropout":
            layer["config"]["rate"] = 0.1
    load_weights(keras.Model.from_config(config), path)


def test_one_channel_gets_the_sum(tmp_path):
    path = save_weights(model := tiny(activation=None), tmp_path / "a.safetensors")
    grey = tiny(channels=1, activation=None)
    report = load_weights(grey, path)
    assert report.adapted == ("conv1/kernel",)
    image = np.random.default_rng(0).uniform(size=(1, 8, 8, 1))
    rgb = np.repeat(image, 3, axis=-1)
    assert difference(answers(grey, image), answers(model, rgb)) < 1e-5


def test_more_channels_are_cycled_and_scaled():
    kernel = np.arange(6, dtype="float32").reshape(1, 1, 3, 2)
    five = adapt_channels(kernel, 5)
    expected = kernel[:, :, [0, 1, 2, 0, 1]] * np.float32(0.6)
    np.testing.assert_array_equal(five, expected)
    assert five.dtype == np.float32
    np.testing.assert_array_equal(adapt_channels(kernel, 1), [[[[6, 9]]]])
    grey = adapt_channels(kernel[:, :, :1], 3)
    np.testing.assert_allclose(grey.sum(axis=2), kernel[:, :, 0])


def test_only_the_kernels_that_read_the_image_are_adapted(tmp_path):
    def net(channels, width):
        image = keras.Input((8, 8, channels), name="image")
        x = layers.ZeroPadding2D(name="conv1_pad")(image)
        a = layers.Conv2D(width, 3, name="conv1_tower1")(x)
        b = layers.Conv2D(width, 3, name="conv1_tower2")(x)
        x = layers.Concatenate(name="conv2_concat")([a, b])
        x = layers.Conv2D(2, 1, name="conv2")(x)
        return keras.Model(image, x)

    path = save_weights(net(3, 4), tmp_path / "a.safetensors")
    report = load_weights(net(2, 4), path)
    assert report.adapted == ("conv1_tower1/kernel", "conv1_tower2/kernel")
    plain = {
        "conv1_tower1/kernel": np.ones((3, 3, 3, 2), "float32"),
        "conv1_tower2/kernel": np.ones((3, 3, 3, 2), "float32"),
        "conv1_tower1/bias": np.ones(2, "float32"),
        "conv1_tower2/bias": np.ones(2, "float32"),
    }
    refused(
        net(3, 2),
        rewritten(path, lambda tensors: tensors.update(plain)),
        r"'conv2/kernel' must have shape \(1, 1, 4, 2\), found \(1, 1, 8, 2\)\.",
    )


@pytest.mark.parametrize("suffix", ["h5", "keras", "weights.h5"])
def test_a_vgg_of_the_zoo_is_not_taken_for_one_that_reads_bgr(tmp_path, suffix):
    """keras.applications has the same layers, names and shapes, but reads BGR."""
    image = np.random.default_rng(0).uniform(size=(1, 32, 32, 3))
    for options in (
        {"include_top": False},
        {"input_tensor": keras.Input((32, 32, 3), name="mine"), "classes": 2},
    ):
        model = convzoo.vgg16(**{"input_shape": (32, 32, 3), **options})
        path = tmp_path / f"vgg.{suffix}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras calls .h5 legacy
            (model.save_weights if suffix == "weights.h5" else model.save)(path)
        loaded = convzoo.vgg16(**{"input_shape": (32, 32, 3), **options}, weights=path)
        np.testing.assert_array_equal(answers(loaded, image), answers(model, image))


def test_a_vgg_that_may_read_either_is_refused(tmp_path):
    tensor = keras.Input((32, 32, 3))
    model = convzoo.vgg16(include_top=False, input_tensor=tensor)
    model.save_weights(tmp_path / "vgg.weights.h5")
    refused(model, tmp_path / "vgg.weights.h5", "may be keras.applications' for BGR or")
