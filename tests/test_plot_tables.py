"""The figures of the papers that are tables or maps, against what the papers print."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from tidy import assert_tidy

from convzoo.inspect.block import plot_block
from convzoo.inspect.blocks_drawn.captions import NO_GRAPHS
from convzoo.inspect.blocks_drawn.maps import pixel_weights

# LeCun et al., Table I: the X of each row, a map of S2.
TABLE_I = {
    0: (0, 4, 5, 6, 9, 10, 11, 12, 14, 15),
    1: (0, 1, 5, 6, 7, 10, 11, 12, 13, 15),
    2: (0, 1, 2, 6, 7, 8, 11, 13, 14, 15),
    3: (1, 2, 3, 6, 7, 8, 9, 12, 14, 15),
    4: (2, 3, 4, 7, 8, 9, 10, 12, 13, 15),
    5: (3, 4, 5, 8, 9, 10, 11, 13, 14, 15),
}


def texts_of(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_c3_is_table_i():
    (axes,) = plot_block("c3").figure.axes
    dots = {
        (int(x), int(y))
        for line in axes.lines
        if line.get_marker() == "o"
        for x, y in zip(*line.get_data(), strict=True)
    }
    assert dots == {(column, row) for row, maps in TABLE_I.items() for column in maps}
    assert axes.yaxis_inverted()


# Simonyan and Zisserman, Table 1: columns A, A-LRN, B, C, D and E between the pools.
TABLE_1 = """
conv3-64  conv3-64  conv3-64  conv3-64  conv3-64  conv3-64
-         LRN       conv3-64  conv3-64  conv3-64  conv3-64
maxpool
conv3-128 conv3-128 conv3-128 conv3-128 conv3-128 conv3-128
-         -         conv3-128 conv3-128 conv3-128 conv3-128
maxpool
conv3-256 conv3-256 conv3-256 conv3-256 conv3-256 conv3-256
conv3-256 conv3-256 conv3-256 conv3-256 conv3-256 conv3-256
-         -         -         conv1-256 conv3-256 conv3-256
-         -         -         -         -         conv3-256
maxpool
conv3-512 conv3-512 conv3-512 conv3-512 conv3-512 conv3-512
conv3-512 conv3-512 conv3-512 conv3-512 conv3-512 conv3-512
-         -         -         conv1-512 conv3-512 conv3-512
-         -         -         -         -         conv3-512
maxpool
conv3-512 conv3-512 conv3-512 conv3-512 conv3-512 conv3-512
conv3-512 conv3-512 conv3-512 conv3-512 conv3-512 conv3-512
-         -         -         conv1-512 conv3-512 conv3-512
-         -         -         -         -         conv3-512
maxpool
FC-4096
FC-4096
FC-1000
soft-max
"""


def test_vgg_is_table_1():
    (axes,) = plot_block("vgg").figure.axes
    rows = {}
    for text in axes.texts:
        rows.setdefault(round(text.get_position()[1]), []).append(text.get_text())
    shapes = [row.pop() for row in rows.values()]
    names, deep, image, *layers = rows.values()
    assert names == ["A", "A-LRN", "B", "C", "D: vgg16", "E: vgg19"]
    assert deep == [f"{count} weight layers" for count in (11, 11, 13, 16, 16, 19)]
    assert image == ["input (RGB image)"]
    table = [line.split() for line in TABLE_1.strip().splitlines()]
    assert [[text or "-" for text in row] for row in layers] == table
    assert [shape for shape in shapes if shape] == [
        *("224 x 224 x 3", "112 x 112 x 64", "56 x 56 x 128"),
        *("28 x 28 x 256", "14 x 14 x 512", "7 x 7 x 512"),
    ]


def test_overlap_tile_is_the_networks():
    figure = plot_block("overlap_tile").figure
    assert set(texts_of(figure)) - {""} == {
        *("reads 572 x 572", "gives 388 x 388", "92", "U-Net")
    }
    left = figure.axes[0]
    squares = {(*patch.get_xy(), patch.get_width()) for patch in left.patches}
    assert squares == {(0, 0, 512), (-92, -92, 572), (0, 0, 388)}
    image = left.images[0].get_array()
    assert image.shape == (348, 348)
    assert (image[:46] == image[46:92][::-1])[:, 46:-46].mean() < 0.5  # paler
    assert ((image[45, 46:-46] < 0.8) == (image[46, 46:-46] < 0.5)).all()


def test_weights_between_two_half_planes():
    """A gap of three pixels: d1 + d2 is 4 in it, and 4 + 2 t in a depth of t."""
    cells = np.zeros((6, 13), int)
    cells[:, :5], cells[:, 8:] = 1, 2
    weights = pixel_weights(cells)
    depth = np.array([4, 3, 2, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4])
    balance = np.where(cells > 0, 13 / 20, 13 / 6)
    expected = balance + 10 * np.exp(-((4 + 2 * depth) ** 2) / 50)
    np.testing.assert_allclose(weights, expected, rtol=1e-12)
    assert weights[0, 6] - balance[0, 6] == pytest.approx(7.2615, abs=1e-4)
    half = pixel_weights(cells, w0=5, sigma=10)[0, 6] - balance[0, 6]
    assert half == pytest.approx(5 * np.exp(-16 / 200))


def test_weights_count_the_two_nearest_cells():
    cells = np.zeros((1, 30), int)
    cells[0, [0, 10, 29]] = 1, 2, 7
    balance = np.where(cells > 0, 30 / 6, 30 / 54)
    reach = np.array([*[10] * 11, *range(12, 19, 2), *[19] * 15])
    expected = balance + 10 * np.exp(-(reach**2) / 50)
    np.testing.assert_allclose(pixel_weights(cells), [expected[0]], rtol=1e-12)
    assert (balance.sum(), balance[cells > 0].sum()) == pytest.approx((30, 15))


@pytest.mark.parametrize(
    ("cells", "found"),
    [([[0, 1]], "2 numbers from 0"), ([[1, 2, 3]], "3 numbers from 1")],
)
def test_weights_need_cells_and_background(cells, found):
    with pytest.raises(ValueError, match=f"cells must hold 0 .* found {found}"):
        pixel_weights(np.array(cells))


def test_weight_map_is_of_the_cells_beside_it():
    figure = plot_block("weight_map").figure
    cells, weights, bar = figure.axes
    colours = cells.images[0].to_rgba(cells.images[0].get_array())
    shown = np.asarray(weights.images[0].get_array())
    around = np.isclose(colours, to_rgba("#263238"), atol=0.01).all(-1)
    balance = 0.5 / around.mean()  # of the background
    assert shown.min() == pytest.approx(balance, abs=0.01)
    assert 9 < shown.max() < 10 + balance
    assert weights.images[0].colorbar.ax is bar
    # Cells that nearly touch differ in colour.
    heavy = np.argwhere(shown > 8)
    assert len(heavy) > 500
    for row, column in heavy[::20]:
        near = colours[max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5]
        assert len(np.unique(near.reshape(-1, 4), axis=0)) >= 3


@pytest.mark.parametrize("name", NO_GRAPHS)
def test_pictures_keep_texts_apart(name):
    assert_tidy(plot_block(name).figure)
