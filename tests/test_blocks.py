"""The public blocks: shapes for any size, and numbers where dialects differ."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convzoo.blocks import convolution as c
from convzoo.blocks import encoder, head, inception, residual, separable

sides = st.integers(8, 40)


def image(height, width, channels=8):
    return keras.Input((height, width, channels), name="image")


def apply(x, tensor, data):
    return keras.ops.convert_to_numpy(keras.Model(x, tensor)(data))


@settings(deadline=None, max_examples=20)
@given(height=sides, width=sides, strides=st.integers(1, 3))
def test_same_padding_gives_the_rounded_up_quotient(height, width, strides):
    y = c.convolution(image(height, width), 4, 3, strides=strides, name="conv")
    assert y.shape == (None, -(-height // strides), -(-width // strides), 4)


@settings(deadline=None, max_examples=20)
@given(side=sides, kernel=st.sampled_from([1, 3, 5, 7]), strides=st.integers(1, 3))
def test_symmetric_padding_gives_torchs_size(side, kernel, strides):
    pad = kernel // 2
    y = c.convolution(
        image(side, side), 4, kernel, strides=strides, padding=pad, name="conv"
    )
    assert y.shape[1] == (side + 2 * pad - kernel) // strides + 1


def test_symmetric_padding_reads_the_pixels_that_torch_reads():
    x = image(4, 4, 1)
    y = c.convolution(x, 1, 3, strides=2, padding=1, activation=None, name="conv")
    model = keras.Model(x, y)
    model.get_layer("conv").set_weights([np.ones((3, 3, 1, 1)), np.zeros(1)])
    data = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    found = keras.ops.convert_to_numpy(model(data))[0, ..., 0]
    padded = np.pad(data[0, ..., 0], 1)
    expected = [[padded[i : i + 3, j : j + 3].sum() for j in (0, 2)] for i in (0, 2)]
    np.testing.assert_array_equal(found, expected)


def ceil_pool(data, size, strides):
    """Caffe's and torch's ceil_mode, on one map."""
    count = [-(-(side - size) // strides) + 1 for side in data.shape]
    return np.array(
        [
            [
                data[
                    i * strides : i * strides + size, j * strides : j * strides + size
                ].max()
                for j in range(count[1])
            ]
            for i in range(count[0])
        ]
    )


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("shape", [(8, 8), (7, 7), (8, 7), (9, 12)])
@pytest.mark.parametrize("known", [True, False])
def test_ceil_pooling(shape, size, known):
    data = np.random.default_rng(0).uniform(0, 1, shape).astype("float32")
    x = image(*(shape if known else (None, None)), 1)
    y = c.max_pool(x, size, 2, padding="ceil", name="pool")
    found = apply(x, y, data[None, ..., None])[0, ..., 0]
    np.testing.assert_array_equal(found, ceil_pool(data, size, 2))


@pytest.mark.parametrize("shape", [(8, 8), (7, 7), (8, 7), (5, 10)])
@pytest.mark.parametrize("known", [True, False])
def test_symmetric_pooling_pads_with_minus_infinity(shape, known):
    data = -np.random.default_rng(0).uniform(1, 2, shape).astype("float32")
    x = image(*(shape if known else (None, None)), 1)
    y = c.max_pool(x, 3, 2, padding="symmetric", name="pool")
    found = apply(x, y, data[None, ..., None])[0, ..., 0]
    padded = np.pad(data, 1, constant_values=-np.inf)
    expected = [
        [padded[i : i + 3, j : j + 3].max() for j in range(0, shape[1], 2)]
        for i in range(0, shape[0], 2)
    ]
    np.testing.assert_array_equal(found, expected)


def test_average_pooling_counts_padding_only_if_asked():
    x = image(5, 5, 1)
    ones = np.ones((1, 5, 5, 1), "float32")
    same = c.average_pool(x, 3, 1, padding="same", name="a")
    counted = c.average_pool(x, 3, 1, padding=1, name="b")
    assert apply(x, same, ones)[0, 0, 0, 0] == pytest.approx(1)
    assert apply(x, counted, ones)[0, 0, 0, 0] == pytest.approx(4 / 9)


def test_convolution_names_its_layers():
    x = image(8, 8)
    plain = keras.Model(x, c.convolution(x, 4, 3, name="a"))
    assert [layer.name for layer in plain.layers] == ["image", "a"]
    full = keras.Model(
        x, c.convolution(x, 4, 3, strides=2, padding=1, norm=c.TORCH, name="a")
    )
    names = [layer.name for layer in full.layers]
    assert names == ["image", "a_pad", "a_conv", "a_bn", "a_relu"]
    norm = full.get_layer("a_bn")
    assert (norm.epsilon, norm.momentum, norm.scale) == (1e-5, 0.9, True)
    assert not full.get_layer("a_conv").use_bias


def test_equal_layers_start_from_different_weights():
    x = image(8, 8)
    y = residual.identity_block(x, 8, branch=residual.basic, name="stage1_block1")
    model = keras.Model(x, y)
    first, second = (model.get_layer(f"stage1_block1_{i}_conv") for i in (1, 2))
    difference = first.get_weights()[0] - second.get_weights()[0]
    assert np.abs(difference).max() > 0.01


def test_he_initialisation():
    x = image(8, 8, 64)
    model = keras.Model(
        x, c.convolution(x, 256, 3, initializer=c.HE_NORMAL, name="conv")
    )
    kernel = model.get_layer("conv").get_weights()[0]
    assert kernel.std() == pytest.approx(0.058926, rel=0.01)
    assert np.abs(kernel).max() > 3 * 0.058926  # not truncated


def test_up_convolution_initialisation():
    x = image(4, 4, 64)
    model = keras.Model(x, encoder.up_convolution(x, 256, name="up1"))
    kernel = model.get_layer("up1_conv").get_weights()[0]
    assert kernel.std() == pytest.approx(np.sqrt(2 / 64), rel=0.01)


@settings(deadline=None, max_examples=15)
@given(height=sides, width=sides)
def test_identity_block_keeps_the_shape(height, width):
    x = image(height, width, 32)
    y = residual.identity_block(x, 8, name="stage1_block1")
    assert y.shape == x.shape


@settings(deadline=None, max_examples=15)
@given(
    side=sides, strides=st.sampled_from([1, 2]), where=st.sampled_from(["1x1", "3x3"])
)
def test_conv_block_strides_and_widens(side, strides, where):
    def branch(x, width, **settings):
        return residual.bottleneck(x, width, stride_in=where, **settings)

    y = residual.conv_block(
        image(side, side), 8, strides=strides, branch=branch, name="stage1_block1"
    )
    assert y.shape == (None, -(-side // strides), -(-side // strides), 32)


def test_residual_blocks_add_and_then_activate():
    x = image(6, 6, 4)
    model = keras.Model(
        x, residual.identity_block(x, 4, branch=residual.basic, name="stage1_block1")
    )
    model.get_layer("stage1_block1_2_bn").gamma.assign(np.zeros(4))
    data = np.random.default_rng(0).normal(size=(1, 6, 6, 4)).astype("float32")
    found = keras.ops.convert_to_numpy(model(data))
    np.testing.assert_array_equal(found, np.maximum(data, 0))


def test_identity_block_refuses_other_channels():
    with pytest.raises(ValueError, match="'a_block1' adds 32 channels to 8"):
        residual.identity_block(image(8, 8), 8, name="a_block1")


@settings(deadline=None, max_examples=15)
@given(widths=st.tuples(*[st.integers(1, 9)] * 6), side=sides)
def test_inception_adds_up_its_branches(widths, side):
    y = inception.inception(image(side, side), *widths, name="inception_3a")
    n1x1, _, n3x3, _, n5x5, pool_proj = widths
    assert y.shape == (None, side, side, n1x1 + n3x3 + n5x5 + pool_proj)


@settings(deadline=None, max_examples=10)
@given(side=sides, channels=st.integers(1, 9))
def test_modules_of_2015(side, channels):
    x, half = image(side, side, channels), (side - 1) // 2
    shapes = {
        inception.inception_a(x, 7, name="a").shape: (side, 224 + 7),
        inception.inception_b(x, 5, name="b").shape: (side, 768),
        inception.inception_c(x, name="c").shape: (side, 2048),
        inception.grid_reduction_a(x, name="d").shape: (half, 480 + channels),
        inception.grid_reduction_b(x, name="e").shape: (half, 512 + channels),
    }
    for shape, (size, maps) in shapes.items():
        assert shape == (None, size, size, maps)


@settings(deadline=None, max_examples=10)
@given(side=sides, strides=st.sampled_from([1, 2]))
def test_separable_blocks(side, strides):
    x = image(side, side)
    y = separable.depthwise_separable(x, 6, strides=strides, name="stage1_block1")
    assert y.shape == (None, -(-side // strides), -(-side // strides), 6)
    assert separable.separable(x, 5, name="stage1_sep1").shape == (None, side, side, 5)


def test_depthwise_separable_costs_what_the_paper_says():
    x = keras.Input((14, 14, 512), name="image")
    y = separable.depthwise_separable(x, 512, name="stage4_block2")
    kernels = [w for w in keras.Model(x, y).trainable_weights if "kernel" in w.name]
    weights = sum(int(np.prod(kernel.shape)) for kernel in kernels)
    assert weights / (9 * 512 * 512) == pytest.approx(0.11306, abs=1e-5)


@pytest.mark.parametrize("up", ["transpose", "nearest", "bilinear"])
def test_expand_meets_its_skip(up):
    x, skip = keras.Input((6, 7, 16)), keras.Input((11, 15, 3))
    y = encoder.expand(x, skip, 8, up=up, name="up1")
    assert y.shape == (None, 11, 15, 8)
    y = encoder.expand(x, skip, 8, crop="skip", up=up, name="up2")
    assert y.shape == (None, 12, 14, 8)


@pytest.mark.parametrize("size", [(12, 9), (8, 8), (7, 12), (10, 10)])
def test_known_and_unknown_sizes_are_matched_alike(size):
    data = np.random.default_rng(0).normal(size=(1, 10, 10, 2)).astype("float32")
    other = np.zeros((1, *size, 1), "float32")
    results = []
    for shapes in (((10, 10, 2), (*size, 1)), ((None, None, 2), (None, None, 1))):
        inputs = [keras.Input(shape) for shape in shapes]
        matched = encoder.match_size(*inputs, name="up1")
        model = keras.Model(inputs, keras.layers.Identity()(matched))
        results.append(keras.ops.convert_to_numpy(model([data, other])))
    np.testing.assert_array_equal(*results)
    assert results[0].shape == (1, *size, 2)


def test_rescaling():
    x = keras.Input((2, 2, 3), name="image")
    y = head.rescaling(x, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), name="image")
    white = np.full((1, 2, 2, 3), 255, "uint8")
    found = apply(x, y, white)[0, 0, 0]
    np.testing.assert_allclose(found, [2.2489, 2.4286, 2.64], atol=1e-4)


def test_heads():
    x = keras.Input((14, 14, 512), name="image")
    scores = head.classifier_head(x, 7, dropout=0.4)
    model = keras.Model(x, scores)
    names = [layer.name for layer in model.layers[1:]]
    assert names == ["head_pool", "head_dropout", "head_predictions"]
    data = np.random.default_rng(0).normal(size=(2, 14, 14, 512)).astype("float32")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(data)).sum(-1), [1, 1], rtol=1e-5
    )
    side = keras.Model(x, head.auxiliary_2014(x, 1000, name="aux1"))
    assert side.count_params() == 3_188_840
    x = keras.Input((17, 17, 768), name="image")
    conv = c.convolution
    side = head.auxiliary_2015(x, 1000, activation=None, conv=conv, name="aux")
    assert side.shape == (None, 1000)
