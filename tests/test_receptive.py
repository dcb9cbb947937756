"""Receptive fields: the published ones, and those that impulses leave behind."""

import keras
import numpy as np
import pytest
from foreign_nets import application
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops
from structure import skeleton

from convzoo import unet
from convzoo.calls import network, strides
from convzoo.catalog import CATALOG
from convzoo.inspect.receptive import call_fields, receptive_fields
from convzoo.layers import MatchSize


def field(model, layer=-1):
    """Return the size of a layer's field, of the last one unless told otherwise."""
    found = receptive_fields(model)
    return (found[layer] if isinstance(layer, str) else list(found.values())[-1]).size


def positive(model):
    """Let every path through a model add something to its output."""
    for variable in model.weights:
        fan_in = np.prod(variable.shape[:-1])
        biases = len(variable.shape) == 1
        variable.assign(np.full(variable.shape, 0.0 if biases else 1 / fan_in))
    return model


def measured(model, axis=0):
    """Return the pixels that the place with the widest view answers to.

    Each image of a batch is lit in a line of its own.
    """
    side = model.inputs[0].shape[1 + axis]
    image = np.zeros((side, *model.inputs[0].shape[1:]), "float32")
    for line in range(side):
        image[(line,) + (slice(None),) * axis + (line,)] = 1
    answer = ops.convert_to_numpy(positive(model)(image, training=False))
    others = tuple(i for i in range(1, answer.ndim) if i != 1 + axis)
    hits = answer.max(axis=others) > 0  # (line, place)
    seen = [np.flatnonzero(place) for place in hits.T]
    return max(pixels[-1] - pixels[0] + 1 for pixels in seen if pixels.size)


# Of AlexNet to MobileNet, but for v1.5: Araujo, Norris, Sim, "Computing Receptive
# Fields of Convolutional Neural Networks" (Distill, 2019); the others by hand.


@pytest.mark.parametrize(
    ("name", "options", "layer", "size", "stride"),
    [
        ("alexnet", {}, "pool5_pool", 195, 32),
        ("vgg16", {}, "block5_pool", 212, 32),
        ("inception_v3", {}, "mixed_7c_concat", 1311, 32),
        ("resnet50", {"variant": "v1"}, "conv5_block3_out", 483, 32),
        ("resnet50", {"variant": "v1.5"}, "conv5_block3_out", 427, 32),
        ("mobilenet", {}, "stage5_block2_pw_relu", 315, 32),
        ("lenet", {"variant": "paper"}, "s4", 16, 4),
        ("mini_resnet", {}, "conv2_block3_out", 15, 1),
        ("unet", {"variant": "paper"}, "bottom_conv2", 140, 16),
    ],
)
def test_fields_are_the_published_ones(name, options, layer, size, stride):
    found = receptive_fields(skeleton(name, **options))
    assert found[layer] == ((size, size), stride)


# The others are the code of a smaller one with a longer table.
@pytest.mark.parametrize(
    "name", sorted({*CATALOG} - {"resnet34", "resnet101", "resnet152", "vgg19"})
)
def test_every_layer_of_the_zoo_is_known(name):
    net = network(skeleton(name))
    found = call_fields(net)
    assert None not in {each.size for each in found.values()}
    assert {call: each.stride for call, each in found.items()} == strides(net)


def test_networks_of_keras():
    assert field(application("ResNet50"), "conv5_block3_out") == (483, 483)
    assert field(application("MobileNetV2"), "out_relu") == (491, 491)


# By hand


@pytest.mark.parametrize(
    ("steps", "size"),
    [
        ([layers.Conv2D(1, (3, 5))], (3, 5)),
        ([layers.Conv2D(1, 3, dilation_rate=(2, 3))], (5, 7)),
        ([layers.Conv2D(1, 3, 2), layers.DepthwiseConv2D(3)], (7, 7)),
        ([layers.SeparableConv2D(1, 3, (1, 2)), layers.MaxPooling2D(2)], (4, 5)),
        ([layers.Conv2D(1, 3), layers.Dense(2), layers.Softmax()], (3, 3)),
        ([layers.Conv2D(1, 3), layers.RandomFlip(), layers.PReLU()], (3, 3)),
        ([layers.ZeroPadding2D(3), layers.Cropping2D(((1, 0), (2, 2)))], (1, 1)),
        ([layers.Conv2D(1, 3), layers.Conv2DTranspose(1, 3, 2)], (4, 4)),
        ([layers.AveragePooling2D(2), layers.UpSampling2D(2)], (2, 2)),
        ([layers.Conv2D(1, 3), layers.GlobalMaxPooling2D(keepdims=True)], "all"),
        ([layers.Flatten(), layers.Reshape((4, 4, 48)), layers.Conv2D(1, 3)], "all"),
        ([layers.Reshape((32, 8, 3)), layers.Conv2D(1, 3)], None),
        ([layers.Permute((2, 1, 3)), layers.Flatten(), layers.Dense(1)], "all"),
    ],
)
def test_fields_by_hand(steps, size):
    assert field(keras.Sequential([keras.Input((16, 16, 3)), *steps])) == size


def test_a_vector_has_no_field_until_it_is_mixed():
    image = keras.Input((7,), name="image")
    model = keras.Model(image, layers.Dense(3, name="head")(layers.ReLU()(image)))
    found = receptive_fields(model)
    assert (found["image"], found["head"]) == (((), 1), ("all", 1))


def test_branches_span_the_field_of_all():
    image = keras.Input((20, 20, 1))
    wide = layers.Conv2D(1, (1, 7), padding="same")(image)
    tall = layers.Conv2D(1, (5, 3), padding="same")(image)
    for merge in (layers.Concatenate(), layers.Add()):
        assert field(keras.Model(image, merge([wide, tall]))) == (5, 7)
    # Two valid windows of 3 that begin 4 pixels apart span 7.
    left, right = layers.Cropping2D((0, (0, 4))), layers.Cropping2D((0, (4, 0)))
    ends = [layers.Conv2D(1, (1, 3))(crop(image)) for crop in (left, right)]
    for pair in (ends, ends[::-1]):
        assert field(keras.Model(image, layers.Add()(pair))) == (1, 7)


def test_a_map_that_is_matched_keeps_its_field():
    image = keras.Input((20, 20, 1))
    tall, wide = layers.Conv2D(1, (3, 1)), layers.Conv2D(1, 9)
    matched = MatchSize()([tall(image), wide(image)])
    assert field(keras.Model(image, matched)) == (3, 1)
    # Cut or padded around its centre, it lies in line with the reference.
    centre, small = layers.Cropping2D(4)(image), layers.Cropping2D(7)(image)
    for x, size in ((tall(image), (3, 1)), (small, (1, 1))):
        added = layers.Add()([MatchSize()([x, centre]), centre])
        assert field(keras.Model(image, added)) == size


def test_maps_side_by_side_are_unknown():
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, layers.Concatenate(axis=1)([image, image]))
    assert field(model) is None


def test_squeeze_and_excitation_sees_all():
    image = keras.Input((8, 8, 2))
    x = layers.Conv2D(2, 3, padding="same")(image)
    for squeeze in (layers.GlobalAveragePooling2D(keepdims=True), layers.MaxPool2D(8)):
        model = keras.Model(image, layers.Multiply()([x, squeeze(x)]))
        assert field(model) == "all"


def test_operations_are_followed():
    image = keras.Input((8, 8, 2))
    x = ops.concatenate([ops.relu(layers.Conv2D(2, 3)(image * 2.0 - 1.0))] * 2, axis=-1)
    assert field(keras.Model(image, x)) == (3, 3)
    assert field(keras.Model(image, ops.flip(x, axis=1))) is None


def test_models_inside_models_are_looked_into():
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(4, 3, 2)(image)
    inner = keras.Model(image, [x, layers.Conv2D(4, 3, 2)(x)], name="inner")
    outer = keras.Input((32, 32, 3))
    middle = layers.Conv2D(3, 3, padding="same")(outer)
    fine, coarse = inner(middle)
    tail = keras.Sequential([layers.Conv2D(2, 3), layers.Conv2D(2, 3)], name="tail")
    model = keras.Model(outer, [tail(fine), layers.MaxPooling2D(name="pool")(coarse)])
    found = receptive_fields(model)
    assert found["inner"] == ((5, 5), 2)
    assert found["tail"] == ((13, 13), 2)
    assert found["pool"] == ((13, 13), 8)


def test_one_tensor_for_two_inputs_of_a_model_inside():
    left, right = keras.Input((16, 16, 1)), keras.Input((16, 16, 1))
    pair = [left, layers.Conv2D(1, 3, padding="same")(right)]
    inner = keras.Model([left, right], layers.Add()(pair))
    image = keras.Input((16, 16, 1))
    x = layers.Conv2D(1, 5, padding="same")(image)
    assert field(keras.Model(image, inner([x, x]))) == (7, 7)


def test_a_subclassed_model_inside_is_unknown():
    class Opaque(keras.Model):
        def call(self, inputs):
            return inputs

    image = keras.Input((8, 8, 3))
    assert field(keras.Model(image, Opaque()(image))) is None
    seen = layers.UpSampling2D(8)(layers.GlobalMaxPool2D(keepdims=True)(image))
    assert field(keras.Model(image, Opaque()(seen))) == "all"


@pytest.mark.parametrize("more", [None, 1])
def test_a_transposed_convolution_may_say_how_large_its_map_is(more):
    up = layers.Conv2DTranspose(1, 4, 2, padding="same", output_padding=more)
    image = keras.Input((12, 12, 1))
    model = keras.Model(image, up(layers.Conv2D(1, 3)(image)))
    assert field(model) == (measured(model),) * 2


def test_channels_may_come_first():
    found = []
    for order, shape in (
        ("channels_last", (32, 31, 3)),
        ("channels_first", (3, 32, 31)),
    ):
        image = keras.Input(shape)
        settings = {"padding": "same", "data_format": order}
        x = layers.Conv2D(4, 3, 2, **settings)(image)
        x = layers.MaxPooling2D(3, 2, **settings)(layers.Conv2D(4, 4, 2, **settings)(x))
        x = layers.Conv2DTranspose(4, 4, 2, **settings)(x)
        found.append(receptive_fields(keras.Model(image, x)).values())
    assert list(found[0]) == list(found[1])


def test_inputs_of_other_sizes_do_not_disturb():
    large, small = keras.Input((16, 16, 1)), keras.Input((14, 14, 1))
    cut = layers.Cropping2D(((6, 0), (6, 0)))(small)
    pair = [layers.Conv2D(1, 5, 2, padding="same")(large), cut]
    assert field(keras.Model([large, small], layers.Add()(pair))) == (5, 5)


# By impulses

PADDINGS = st.sampled_from(["valid", "same"])
STEPS = st.one_of(
    st.tuples(
        st.sampled_from([layers.Conv1D, layers.Conv1DTranspose]),
        st.tuples(st.just(1), st.integers(1, 4), st.integers(1, 3), PADDINGS),
    ),
    st.tuples(
        st.just(layers.Conv1D),
        st.tuples(
            *(st.just(1), st.integers(1, 3), st.just(1)),
            *(st.sampled_from(["valid", "same", "causal"]), st.just(None)),
            st.integers(2, 3),  # dilation
        ),
    ),
    st.tuples(
        st.just(layers.AveragePooling1D),
        st.tuples(st.integers(1, 3), st.integers(1, 3), PADDINGS),
    ),
    st.tuples(
        st.sampled_from([layers.UpSampling1D, layers.ZeroPadding1D, layers.Cropping1D]),
        st.tuples(st.integers(1, 3)),
    ),
)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(STEPS, min_size=1, max_size=4))
def test_chains_see_what_impulses_show(steps):
    chain = [layer(*arguments) for layer, arguments in steps]
    model = keras.Sequential([keras.Input((150, 1)), *chain])
    assert field(model) == (measured(model),)


BRANCHES = {
    "convolutions": lambda x, padded: (
        layers.Conv1D(1, 5, padding="same")(x),
        layers.Conv1D(1, 5)(padded(2)),
    ),
    "strides": lambda x, padded: (
        layers.Conv1D(1, 3, 2, "same")(x),
        layers.Conv1D(1, 3, 2)(padded(1)),
    ),
    "pools": lambda x, _: (
        layers.MaxPooling1D(4, 3, "same")(x),
        layers.Conv1D(1, 1, 3)(x),
    ),
    "transposed": lambda x, padded: (
        layers.Conv1DTranspose(1, 6, 2, "same")(x),
        layers.UpSampling1D(2)(layers.Conv1D(1, 3)(padded(1))),
    ),
    "upsampled": lambda x, _: (
        layers.Conv1D(1, 4, padding="same")(layers.UpSampling1D(2)(x)),
        layers.UpSampling1D(2)(x),
    ),
}


@pytest.mark.parametrize("branches", BRANCHES.values(), ids=BRANCHES)
@pytest.mark.parametrize("side", [29, 30])
def test_branches_see_what_impulses_show(branches, side):
    image = keras.Input((side, 1))
    ends = branches(image, lambda places: layers.ZeroPadding1D(places)(image))
    model = keras.Model(image, layers.Add()(ends))
    assert field(model) == (measured(model),)


def pyramid(up):
    """U-Net in small: skips, valid windows, and a way up that is given."""
    image = keras.Input((60, 60, 1))
    x, skips = image, []
    for _ in range(2):
        skips.append(x := layers.Conv2D(1, 3)(x))
        x = layers.AveragePooling2D(2)(x)
    for skip in reversed(skips):
        x = layers.Conv2D(1, 3)(up()(layers.Conv2D(1, 3)(x)))
        cut = (skip.shape[1] - x.shape[1]) // 2
        rest = skip.shape[1] - x.shape[1] - cut
        cropped = layers.Cropping2D(((cut, rest), (cut, rest)))(skip)
        x = layers.Concatenate()([cropped, x])
    return keras.Model(image, layers.Conv2D(1, 1)(x))


@pytest.mark.parametrize(
    "up",
    [
        lambda: layers.Conv2DTranspose(1, 2, 2),
        lambda: layers.Conv2DTranspose(1, 3, 2, padding="same"),
        lambda: layers.UpSampling2D(2, interpolation="bilinear"),
    ],
)
def test_ways_down_and_up_see_what_impulses_show(up):
    model = pyramid(up)
    assert field(model) == (measured(model), measured(model, axis=1))


def test_the_papers_unet_sees_what_impulses_show():
    model = unet(
        variant="paper",
        filters=1,
        depth=2,
        input_shape=(76, 60, 1),
        classes=1,
        classifier_activation=None,
    )
    assert field(model, "head_predictions") == (measured(model), measured(model, 1))


@pytest.mark.parametrize(
    ("name", "axis"), [("bilinear", 0), ("bilinear", 1), ("nearest", 1)]
)
@pytest.mark.parametrize("size", [(2, 3), (4, 1)])
def test_interpolation_sees_what_impulses_show(name, axis, size):
    up = layers.UpSampling2D(size, interpolation=name)
    model = keras.Sequential(
        [keras.Input((12, 12, 1)), layers.Conv2D(1, 2, 2), up, layers.Conv2D(1, 2)]
    )
    assert field(model)[axis] == measured(model, axis)
