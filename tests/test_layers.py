"""The paper-only layers, against numbers worked out by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from convzoo import layers
from convzoo.models.lenet import C3, DIGITS, _codes


def value(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_lrn_is_the_papers_not_caffes():
    maps = np.array([10, 20, 30, 40, 50, 60], "float32").reshape(1, 1, 1, 6)
    paper = [5.65184, 10.70864, 14.86675, 17.99954, 22.73503, 27.94418]
    caffe = [9.79502, 19.14479, 27.74144, 35.33039, 44.38889, 53.88860]
    found = value(layers.LocalResponseNormalization()(maps)).ravel()
    np.testing.assert_allclose(found, paper, rtol=1e-5)
    # Caffe divides alpha by n = 5 and starts from k = 1: another function.
    found = layers.LocalResponseNormalization(bias=1.0, alpha=1e-4 / 5)(maps)
    np.testing.assert_allclose(value(found).ravel(), caffe, rtol=1e-5)


def test_lrn_crosses_the_seam_between_the_towers():
    random = np.random.default_rng(0)
    towers = [random.uniform(0, 100, (2, 3, 3, 48)).astype("float32") for _ in "ab"]
    whole = np.concatenate(towers, -1).astype("float64")
    expected = np.empty_like(whole)
    for channel in range(96):
        near = whole[..., max(channel - 2, 0) : channel + 3]
        scale = (2 + 1e-4 * np.sum(near**2, -1)) ** 0.75
        expected[..., channel] = whole[..., channel] / scale
    norm = layers.LocalResponseNormalization()
    found = np.concatenate([value(tower) for tower in norm(towers)], -1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    apart = np.concatenate([value(norm(tower)) for tower in towers], -1)
    changed = np.flatnonzero(np.abs(apart - found).max((0, 1, 2)) > 1e-3)
    assert changed.tolist() == [46, 47, 48, 49]


def test_lrn_survives_half_precision():
    big = np.full((1, 1, 1, 8), 300, "float16")  # its square overflows
    found = value(layers.LocalResponseNormalization(dtype="float16")(big))
    assert np.isfinite(found).all()
    assert found.min() > 0


def test_scaled_tanh():
    found = value(layers.scaled_tanh(ops.array([0.5, 1.0, 2.0, -1.0])))
    np.testing.assert_allclose(
        found, [0.551684, 0.999997, 1.492939, -0.999997], atol=1e-6
    )


def test_subsampling_sums_four_pixels():
    image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    layer = layers.Subsampling()
    layer.build((None, 4, 4, 1))
    layer.set_weights([np.array([0.5]), np.array([-1.0])])
    sums = np.array([[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [42, 50]])
    np.testing.assert_allclose(value(layer(image))[0, ..., 0], 0.5 * sums - 1)
    assert layer.compute_output_shape((None, 5, None, 7)) == (None, 2, None, 7)


def test_subsampling_squashes_after_the_bias():
    layer = layers.Subsampling(layers.scaled_tanh)
    layer.build((None, 2, 2, 1))
    layer.set_weights([np.array([0.25]), np.array([1.0])])
    found = value(layer(np.ones((1, 2, 2, 1), "float32")))
    np.testing.assert_allclose(found, 1.492939, atol=1e-6)  # f(1 + 1)


def test_table_one():
    assert len(C3) == 16
    assert sum(map(len, C3)) == 60
    assert sorted(map(len, C3)) == [3] * 6 + [4] * 9 + [6]
    assert [sum(map(row.count, range(6))) for row in C3] == [len(row) for row in C3]
    assert [sum(source in row for row in C3) for source in range(6)] == [10] * 6


def test_sparse_convolution_is_a_dense_one_with_absent_kernels():
    random = np.random.default_rng(1)
    x = random.normal(size=(2, 14, 14, 6)).astype("float32")
    layer = layers.SparseConv2D(C3, 5)
    layer.build(x.shape)
    kernel, bias = layer.kernel.shape, layer.bias.shape
    assert (tuple(kernel), tuple(bias)) == ((5, 5, 60), (16,))
    kernel, bias = random.normal(size=kernel), random.normal(size=bias)
    layer.set_weights([kernel, bias])
    dense, link = np.zeros((5, 5, 6, 16), "float32"), 0
    for target, sources in enumerate(C3):
        for source in sources:
            dense[:, :, source, target] = kernel[:, :, link]
            link += 1
    expected = value(ops.conv(x, dense, padding="valid")) + bias
    np.testing.assert_allclose(value(layer(x)), expected, atol=1e-4)
    assert layer.compute_output_shape(x.shape) == expected.shape


def test_sparse_convolution_starts_within_the_papers_bound():
    layer = layers.SparseConv2D(C3, 5)
    layer.build((None, 14, 14, 6))
    spread = np.abs(value(layer.kernel)).max((0, 1))
    bound = np.array([2.4 / (25 * len(row)) for row in C3 for _ in row])
    assert (spread <= bound).all()
    assert (spread > 0.5 * bound).all()


def test_sparse_convolution_names_a_map_that_is_missing():
    with pytest.raises(ValueError, match="reads input map 5, but the input has 3"):
        layers.SparseConv2D(C3, 5).build((None, 14, 14, 3))


def test_radial_basis_is_the_negated_squared_distance():
    layer = layers.RadialBasis(["##.", "..#"])
    found = value(layer(np.array([[1, 1, -1], [0, 0, 2]], "float32")))
    np.testing.assert_allclose(found, [[0, -12], [-(1 + 1 + 9), -(1 + 1 + 1)]])
    assert not layer.trainable_variables
    assert layer.count_params() == 6
    with pytest.raises(ValueError, match=r"4 signs each.*found \[3\]"):
        layers.RadialBasis(["##."]).build((None, 4))


def test_the_digits_are_ten_different_bitmaps():
    codes = _codes(10)
    assert len(set(codes)) == 10
    assert {len(code) for code in codes} == {84}
    distances = [
        sum(a != b for a, b in zip(codes[i], codes[j], strict=True))
        for i in range(10)
        for j in range(i)
    ]
    assert min(distances) >= 7
    assert len(DIGITS.strip().splitlines()) == 12
    assert len(set(_codes(37))) == 37
    assert _codes(37) == _codes(37)


def test_padded_shortcut():
    x = np.random.default_rng(2).normal(size=(1, 5, 4, 3)).astype("float32")
    layer = layers.PaddedShortcut(8, 2)
    found = value(layer(x))
    assert found.shape == layer.compute_output_shape(x.shape) == (1, 3, 2, 8)
    np.testing.assert_array_equal(found[..., :3], x[:, ::2, ::2])
    assert not found[..., 3:].any()


@pytest.mark.parametrize("size", [(4, 9), (7, 3), (6, 6), (5, 8)])
def test_match_size_crops_and_pads_around_the_centre(size):
    x = np.arange(1, 37, dtype="float32").reshape(1, 6, 6, 1)
    layer = layers.MatchSize()
    found = value(layer([x, np.zeros((1, *size, 2))]))[0, ..., 0]
    expected = x[0, ..., 0]
    for axis, target in enumerate(size):
        gap = target - 6
        before = abs(gap) // 2
        if gap >= 0:
            widths = [(0, 0), (0, 0)]
            widths[axis] = (before, gap - before)
            expected = np.pad(expected, widths)
        else:
            expected = np.take(expected, range(before, before + target), axis)
    np.testing.assert_array_equal(found, expected)
    shape = layer.compute_output_shape([(None, None, 6, 1), (None, *size, 2)])
    assert shape == (None, *size, 1)


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (layers.LocalResponseNormalization(1, 1.0, 0.5, 0.6), [(4, 4, 6)]),
        (layers.SparseConv2D(C3, 3, layers.scaled_tanh), [(8, 8, 6)]),
        (layers.Subsampling(layers.scaled_tanh), [(8, 8, 6)]),
        (layers.RadialBasis(["#" * 6, ".#" * 3], "softmax"), [(6,)]),
        (layers.PaddedShortcut(9, 3), [(8, 8, 6)]),
        (layers.MatchSize(), [(None, None, 2), (None, None, 3)]),
    ],
)
def test_layers_survive_saving(layer, shapes, tmp_path):
    inputs = [keras.Input(shape) for shape in shapes]
    inputs = inputs[0] if len(inputs) == 1 else inputs
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    random = np.random.default_rng(3)
    data = [
        random.normal(size=(2, *[side or 7 - i for side in shape])).astype("float32")
        for i, shape in enumerate(shapes)
    ]
    data = data[0] if len(data) == 1 else data
    np.testing.assert_array_equal(value(model(data)), value(loaded(data)))
    assert loaded.layers[-1].get_config() == model.layers[-1].get_config()
