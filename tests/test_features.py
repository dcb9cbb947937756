"""feature_extractor and feature_maps: the same taps on every network."""

import keras
import numpy as np
import pytest
from calibrated import difference
from foreign_nets import application
from keras import layers
from photos import torchvision
from small_nets import answers, tiny
from structure import structure

from convzoo import (
    feature_extractor,
    feature_maps,
    lenet,
    load_model,
    mini_resnet,
    mini_vgg,
    unet,
    weights_info,
)
from convzoo.anatomy import taps
from convzoo.calls import tensors_of
from convzoo.deferred import without_weights
from convzoo.inspect.features import batch_of, pixels
from convzoo.pretrained.images import ImageError

# fmt: off
CHANNELS = {  # by stride; those that timm has are compared with it below
    "resnet18-v1":        {2: 64, 4: 64, 8: 128, 16: 256, 32: 512},
    "resnet34-v1.5":      {2: 64, 4: 64, 8: 128, 16: 256, 32: 512},
    "resnet50-v1":        {2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048},
    "resnet50-v1.5":      {2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048},
    "resnet101-v1.5":     {2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048},
    "resnet152-v1":       {2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048},
    "vgg16-plain":        {1: 64, 2: 128, 4: 256, 8: 512, 16: 512, 32: 512},
    "vgg16-bn":           {1: 64, 2: 128, 4: 256, 8: 512, 16: 512, 32: 512},
    "vgg19-plain":        {1: 64, 2: 128, 4: 256, 8: 512, 16: 512, 32: 512},
    "inception_v3-keras": {2: 64, 4: 192, 8: 288, 16: 768, 32: 2048},
    "inception_v3-torch-aux": {2: 64, 4: 192, 8: 288, 16: 768, 32: 2048},
    "xception-keras":     {2: 64, 4: 128, 8: 256, 16: 728, 32: 2048},
    "xception-torch":     {2: 64, 4: 128, 8: 256, 16: 728, 32: 2048},
    "mobilenet-keras":    {2: 64, 4: 128, 8: 256, 16: 512, 32: 1024},
    "mobilenet-torch":    {2: 64, 4: 128, 8: 256, 16: 512, 32: 1024},
    "mobilenet-0.25":     {2: 16, 4: 32, 8: 64, 16: 128, 32: 256},
    "googlenet-paper-aux": {2: 64, 4: 192, 8: 480, 16: 832, 32: 1024},
    "googlenet-torch":    {2: 64, 4: 192, 8: 480, 16: 832, 32: 1024},
    "alexnet-paper":      {4: 96, 8: 256, 16: 256, 32: 256},
    "alexnet-torch":      {4: 64, 8: 192, 16: 256, 32: 256},
    "lenet-modern":       {1: 6, 2: 16, 4: 120},
    "lenet-paper":        {1: 6, 2: 16, 4: 120},
    "mini_vgg-rosebrock": {1: 32, 2: 64, 4: 64},
    "mini_inception-half": {1: 240, 2: 416, 4: 512},
    "mini_inception-zhang2017": {1: 80, 2: 144, 4: 336},
    "mini_resnet-he2016": {1: 16, 2: 32, 4: 64},
    "mini_resnet-20-B":   {1: 16, 2: 32, 4: 64},
    "unet-paper":         {1: 64, 2: 128, 4: 256, 8: 512, 16: 1024},
    "unet-same-odd":      {1: 64, 2: 128, 4: 256, 8: 512, 16: 1024},
    "unet-resnet18":      {1: 64, 2: 128, 4: 256, 8: 512, 16: 512, 32: 512},
}
TIMM = {
    "resnet18-v1": "resnet18", "resnet34-v1.5": "resnet34", "resnet50-v1": "resnet50",
    "resnet101-v1.5": "resnet101", "resnet152-v1": "resnet152",
    "vgg16-plain": "vgg16", "vgg16-bn": "vgg16_bn", "vgg19-plain": "vgg19",
    "inception_v3-keras": "inception_v3", "xception-keras": "legacy_xception",
    "mobilenet-keras": "mobilenetv1_100",
}
# fmt: on


@pytest.mark.parametrize("name", CHANNELS)
def test_taps_of_the_zoo(name):
    model, channels = structure(name), CHANNELS[name]
    extractor = feature_extractor(model, tuple(channels))
    maps = extractor.output
    assert {key: x.shape[3] for key, x in maps.items()} == {
        f"s{stride}": number for stride, number in channels.items()
    }
    sides = [maps[f"s{stride}"].shape[1] for stride in channels]
    assert sides == sorted(sides, reverse=True)
    own = {id(layer) for layer in model.layers}
    joined = {layer for layer in extractor.layers if id(layer) not in own}
    assert {type(layer) for layer in joined} <= {layers.Concatenate}
    assert not any(isinstance(layer, keras.Model) for layer in extractor.layers)


def test_a_stride_that_the_network_lacks():
    message = r"'alexnet' has no map at stride 2; .* maps are 4, 8, 16, 32\."
    with pytest.raises(ValueError, match=message):
        feature_extractor(structure("alexnet-torch"))


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("MobileNet", {32: 1024}),
        ("MobileNetV3Small", {32: 576}),
        ("ConvNeXtTiny", {4: 96, 8: 192, 16: 384, 32: 768}),
    ],
)
def test_taps_of_keras_networks(name, channels):
    found = feature_extractor(application(name), np.array(list(channels))).output
    assert {key: x.shape[3] for key, x in found.items()} == {
        f"s{stride}": number for stride, number in channels.items()
    }
    if name != "MobileNetV3Small":  # whose sides are open
        assert [x.shape[1] for x in found.values()] == [224 // s for s in channels]


@pytest.mark.parametrize(
    "pool",
    [
        layers.GlobalMaxPooling2D(keepdims=True),
        lambda x: keras.ops.mean(x, (1, 2), keepdims=True),
        lambda x: layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(x)),
    ],
)
def test_what_comes_after_a_pool_of_the_whole_map_is_a_head(pool):
    image = keras.Input((8, 8, 3))
    x = pool(layers.Conv2D(4, 3, 2, padding="same", name="last")(image))
    model = keras.Model(image, layers.Conv2D(5, 1)(x))
    assert taps(model) == {2: "last"}


def test_a_network_inside_a_model_is_one_tap():
    body = tiny(top=False)
    pool = layers.GlobalAveragePooling2D()
    model = keras.Sequential([keras.Input((8, 8, 3)), body, pool, layers.Dense(2)])
    assert feature_extractor(model, (2,)).output["s2"].shape == (None, 4, 4, 5)


@pytest.mark.torch
@pytest.mark.parametrize("name", TIMM)
def test_taps_are_timms(name):
    torchvision()
    import timm  # noqa: PLC0415
    import torch  # noqa: PLC0415

    with torch.device("meta"):
        info = timm.create_model(TIMM[name], features_only=True).feature_info
    maps = feature_extractor(structure(name), info.reduction()).output
    strides = [int(key[1:]) for key in maps]
    assert strides == list(info.reduction()) == list(taps(structure(name)))
    assert [x.shape[3] for x in maps.values()] == info.channels()


def test_taps_share_weights_and_give_what_the_head_reads():
    model = mini_resnet(depth=8, input_shape=(16, 16, 3), classifier_activation=None)
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    extractor = feature_extractor(model, (1, 2, 4))
    for _ in "12":
        maps = extractor(images, training=False)
        assert [maps[key].shape[1] for key in ("s1", "s2", "s4")] == [16, 8, 4]
        kernel, bias = model.get_layer("head_predictions").get_weights()
        last = keras.ops.convert_to_numpy(maps["s4"])
        scores = last.mean((1, 2)) @ kernel + bias
        assert difference(scores, answers(model, images)) < 1e-5
        beta = model.get_layer("conv4_block1_2_bn").beta
        beta.assign(beta + 1.0)  # the second round sees it


def test_taps_of_a_body_of_any_size_survive_saving(tmp_path):
    body = mini_resnet(depth=8, include_top=False, input_shape=(None, None, 3))
    extractor = feature_extractor(body, [4, 2])
    extractor.save(tmp_path / "taps.keras")
    loaded = load_model(tmp_path / "taps.keras")
    for sides in ((32, 32), (48, 16)):
        images = np.random.default_rng(0).normal(size=(1, *sides, 3))
        maps = answers(extractor, images)
        assert maps["s2"].shape == (1, sides[0] // 2, sides[1] // 2, 32)
        again = answers(loaded, images)
        for key, found in maps.items():
            np.testing.assert_array_equal(again[key], found)


def test_layers_whose_first_call_stands_in_another_model():
    first = tiny(top=False)
    x = image = keras.Input((16, 16, 3), name="image")
    for layer in first.layers[1:]:
        x = layer(x)
    second = keras.Model(image, x)
    for model, side in ((first, 4), (second, 8)):
        extractor = feature_extractor(model, [2])
        assert extractor.output["s2"].shape == (None, side, side, 5)
        images = np.random.default_rng(0).normal(size=(1, 2 * side, 2 * side, 3))
        maps = feature_maps(model, images, "conv2")
        assert difference(maps, answers(model, images)) < 1e-5


def shared():
    image = keras.Input((8, 8, 3), name="image")
    layer = layers.Conv2D(3, 3, 2, padding="same", name="shared")
    return keras.Model(image, layer(layer(image)), name="twice")


def test_each_call_of_a_shared_layer_has_maps():
    model = shared()
    maps = feature_maps(model, np.ones((2, 8, 8, 3)), ["shared", "shared#2"])
    assert maps["shared"].shape == (2, 4, 4, 3)
    images = keras.ops.ones((2, 8, 8, 3))
    expected = keras.ops.convert_to_numpy(model(images))
    assert difference(maps["shared#2"], expected) < 1e-6
    with pytest.raises(ValueError, match=r"'shared', which gives .* more than once"):
        feature_extractor(model, [2])
    assert [len(tensors) for tensors in tensors_of(model).values()] == [1, 1, 1]


def test_feature_maps_of_many_images():
    model = tiny()
    images = np.random.default_rng(0).normal(size=(40, 8, 8, 3))
    maps = feature_maps(model, images, ["conv1_relu", "head_predictions"])
    assert list(maps) == ["conv1_relu", "head_predictions"]
    scores = keras.ops.convert_to_numpy(model(images.astype("float32")))
    assert difference(maps["head_predictions"], scores) < 1e-5
    one = feature_maps(model, images[39], "conv1_relu")
    assert one.shape == (1, 4, 4, 4)
    assert difference(one[0], maps["conv1_relu"][39]) < 1e-5


def test_maps_of_two_towers_are_one():
    first, second = (keras.Input((4, 4, 2), name=f"image{i}") for i in "12")
    model = keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(3, 1, name="c1")])
    assert feature_maps(model, np.ones((1, 4, 4, 2)), "c1").shape == (1, 4, 4, 3)
    both = keras.Model([first, second], layers.Add(name="add1")([first, second]))
    with pytest.raises(ValueError, match=r"one image, .* \[\(4, 4, 2\), \(4, 4, 2\)\]"):
        feature_maps(both, np.ones((1, 4, 4, 2)), "add1")
    maps = feature_extractor(structure("alexnet-paper"), [4]).output["s4"]
    operation = maps._keras_history.operation
    assert (operation.name, maps.shape) == ("conv1_lrn_concat", (None, 55, 55, 96))


def test_images_of_a_model_that_rescales():
    model = tiny(rescaling=(2 / 255, -1.0))
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype("uint8")
    middle = image[:, 2:10]
    np.testing.assert_array_equal(pixels(model, image)[0], middle)
    np.testing.assert_array_equal(batch_of(model, [image, middle])[1], middle)
    scaled = feature_maps(model, image, "image_rescaling")[0]
    np.testing.assert_allclose(scaled, middle / 127.5 - 1, atol=1e-6)
    with pytest.raises(ImageError, match="0 to 255, before any normalisation"):
        feature_maps(model, scaled, "conv1_relu")


def test_images_of_a_model_with_a_record():
    model, path = lenet(weights="mnist"), "examples/images/7.png"
    record = weights_info("lenet", "mnist")
    np.testing.assert_array_equal(batch_of(model, path), record.preprocess(path))
    seen = pixels(model, [path, path])[1]
    assert (seen.shape, seen.dtype) == ((32, 32, 1), np.uint8)
    scaled = (seen / 255 - record.mean) / record.std
    np.testing.assert_allclose(batch_of(model, path)[0], scaled, atol=1e-6)
    assert feature_maps(model, path, "head_predictions").argmax() == 7


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("cat.jpg", r"an array as it reads them, \(n, 8, 8, 3\), found str"),
        ([np.ones((8, 8, 3)), np.ones((4, 8, 3))], "an array as it .* found list"),
        (np.ones((2, 8, 9, 3)), r"\(2, 8, 9, 3\) do not fit .*'tiny'.*\(n, 8, 8, 3\)"),
        (np.ones((0, 8, 8, 3)), r"shape \(0, 8, 8, 3\) hold nothing: give at"),
        (np.ones((1, 8, 8, 3), "uint8"), "dtype uint8 are not normalised"),
        (np.full((1, 8, 8, 3), np.nan), "hold NaN or infinity"),
        (np.ones((1, 8, 8, 3), bool), "dtype bool hold no pixels: give numbers"),
        (np.ones((1, 8, 8, 3), complex), "dtype complex128 hold no pixels"),
    ],
)
def test_arrays_that_do_not_fit(images, message):
    with pytest.raises(ValueError, match=message):
        feature_maps(tiny(), images, "conv1")


def test_how_a_model_sees_images_may_be_unknown():
    with pytest.raises(ValueError, match="how it sees images is not known"):
        pixels(tiny(), np.ones((8, 8, 3), "uint8"))


def test_arrays_of_a_model_that_rescales_otherwise():
    model = tiny(rescaling=(1 / 255,))
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3))
    model.get_layer("image_rescaling").name = "scale"
    assert batch_of(model, image).dtype == image.dtype
    open_sided = keras.Sequential([keras.Input((None, 8, 3)), layers.Conv2D(1, 1)])
    with pytest.raises(ValueError, match=r"reads \(n, any height, 8, 3\)"):
        batch_of(open_sided, np.ones((1, 4, 4, 3)))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            "conv1_rel",
            r"not a layer .* did you mean 'conv1_relu'.*\?; accepted: 'image', ",
        ),
        ("conv", "did you mean 'conv2' or 'conv1'"),
        (
            "zzz",
            "'zzz' is not a layer of model 'tiny'; accepted: 'image', ('.*', ){6}'",
        ),
        ([], r"layer=\[\] names no layer"),
        (None, "layer must be the name of a layer, found None: give one of"),
        (["conv1", 3], "layer must be the name of a layer, found 3"),
        (layers.ReLU(name="r"), "must be the name of a layer, found <ReLU name=r"),
    ],
)
def test_unknown_layers(layer, message):
    with pytest.raises(ValueError, match=message):
        feature_maps(tiny(), np.ones((1, 8, 8, 3)), layer)


def test_a_layer_of_a_model_inside_is_told_with_the_way_to_it():
    body = keras.Sequential([keras.Input((8, 8, 3)), tiny(top=False)], name="body")
    model = keras.Sequential([keras.Input((8, 8, 3)), body], name="outer")
    way = r"model\.get_layer\('body'\)\.get_layer\('tiny'\) instead"
    with pytest.raises(ValueError, match=f"inside the layer 'body' .*'outer'.*{way}"):
        feature_maps(model, np.ones((1, 8, 8, 3)), "conv1")


def test_a_model_without_weights_has_no_maps():
    with without_weights():
        model = tiny()
    with pytest.raises(ValueError, match="'tiny' was built without weights, so there"):
        feature_maps(model, np.ones((1, 8, 8, 3)), "conv1")


@pytest.mark.parametrize("strides", [(), 4, np.array(4), ("4",), (True,), (2.0,)])
def test_strides_are_whole_numbers(strides):
    with pytest.raises(ValueError, match=r"strides must be whole numbers such as"):
        feature_extractor(tiny(), strides)


class Subclassed(keras.Model):
    def call(self, x):
        return x


def test_models_without_a_graph():
    unbuilt = keras.Sequential([layers.Conv2D(1, 1)], name="unbuilt")
    for model, message in (
        (Subclassed(), "Sequential keras.Model, found Subclassed"),
        (unbuilt, "'unbuilt' is a Sequential model without an input shape"),
        ("resnet50", "Sequential keras.Model, found str"),
    ):
        with pytest.raises(TypeError, match=message):
            feature_extractor(model)
        with pytest.raises(TypeError, match=message):
            feature_maps(model, np.ones((1, 8, 8, 3)), "conv1")
    mlp = keras.Sequential([keras.Input((3,)), layers.Dense(2)], name="mlp")
    with pytest.raises(ValueError, match=r"no map at stride 2; .* maps are none\."):
        feature_extractor(mlp)


def test_an_image_fills_an_oblong_input():
    """The shorter side becomes the input's longer one, and the middle is cut out."""
    model = mini_vgg(input_shape=(32, 64, 3), include_preprocessing=True)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype("uint8")
    np.testing.assert_array_equal(pixels(model, image)[0], image[16:48])


@pytest.mark.parametrize(
    ("shape", "prepares", "cause"),
    [
        ((32, 32, 3), False, "was built without published weights and without include"),
        ((None, None, 1), True, "reads maps of no fixed size"),
        ((32, 32, 2), True, "reads maps of 2 channels, not pictures"),
    ],
)
def test_why_a_model_does_not_take_images_is_said(shape, prepares, cause):
    model = unet(input_shape=shape, filters=4, depth=2, include_preprocessing=prepares)
    for taking in (pixels, batch_of):
        with pytest.raises(ValueError, match=rf"Model 'unet' {cause}.*, so "):
            taking(model, "7.png")
