"""Pictures: what they show is read back from them."""

import keras
import numpy as np
import pytest
from keras import layers
from matplotlib.figure import Figure
from PIL import Image
from small_nets import tiny
from structure import structure

from convzoo import lenet
from convzoo.inspect.features import pixels
from convzoo.inspect.pictures import (
    overlay,
    plot_confusion,
    plot_filters,
    plot_history,
)
from convzoo.pretrained.images import ImageError

RANDOM = np.random.default_rng(0)


def drawn(picture):
    """Return the array that a picture's first axes show."""
    return np.asarray(picture.figure.axes[0].images[0].get_array())


def test_overlay_mixes_image_and_colours():
    image = RANDOM.integers(0, 256, (5, 7, 3)).astype("uint8")
    heat = np.zeros((5, 7))
    heat[2, 3] = 1
    before = image.copy(), heat.copy()
    mixed = overlay(image, heat)
    assert (mixed.shape, mixed.dtype) == ((5, 7, 3), np.uint8)
    np.testing.assert_array_equal(overlay(image, heat, alpha=0), image)
    colours = overlay(image, heat, alpha=1)
    cold, hot = colours[0, 0].astype(int), colours[2, 3].astype(int)
    assert cold[2] > cold[0]
    assert hot[0] > hot[2]
    np.testing.assert_allclose(mixed, 0.6 * image + 0.4 * colours, atol=0.71)
    np.testing.assert_array_equal(before[0], image)
    np.testing.assert_array_equal(before[1], heat)


def test_overlay_takes_images_of_any_kind(tmp_path):
    grey = RANDOM.integers(0, 256, (4, 6)).astype("uint8")
    expected = overlay(np.repeat(grey[..., None], 3, 2), np.ones((4, 6)))
    path = tmp_path / "grey.png"
    Image.fromarray(grey).save(path)
    for image in (grey, grey[..., None], Image.fromarray(grey), path, grey / 1.0):
        np.testing.assert_array_equal(overlay(image, np.ones((4, 6))), expected)
    seen = pixels(lenet(weights="mnist"), "examples/images/7.png")[0]
    assert overlay(seen, np.ones((32, 32))).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heat": np.ones((1, 4, 4))}, r"one map .* found float64 of shape \(1, 4, 4"),
        ({"heat": np.ones((0, 4))}, r"one map of numbers, .* of shape \(0, 4\)"),
        ({"heat": [[1], [1, 0]]}, "found what is no array of numbers"),
        ({"heat": [["hot"]]}, "found what is no array of numbers"),
        (
            {"heat": np.full((4, 4), 1.5)},
            r"heat must lie in \[0, 1\], found 1.5 to 1.5",
        ),
        ({"heat": np.full((4, 4), np.nan)}, r"heat must lie in \[0, 1\], found nan"),
        ({"heat": np.ones((4, 5))}, "image has 4 x 4 pixels and heat 4 x 5"),
        ({"alpha": 2}, r"alpha=2 must lie in \[0, 1\]"),
        ({"alpha": "x"}, r"alpha='x' must lie in \[0, 1\]"),
        ({"alpha": None}, r"alpha=None must lie in \[0, 1\]"),
        ({"image": np.zeros((2, 4, 4, 3), "uint8")}, "image holds 2 images"),
        ({"image": "no.png"}, "'no.png' does not exist"),
    ],
)
def test_overlay_refuses(arguments, message):
    right = {"image": np.zeros((4, 4, 3), "uint8"), "heat": np.ones((4, 4))}
    with pytest.raises(ValueError, match=message):
        overlay(**right | arguments)
    assert issubclass(ImageError, ValueError)


def one_layer(layer, channels):
    return keras.Sequential([keras.Input((8, 8, channels), name="image"), layer])


def test_filters_of_rgb_are_colours():
    model = one_layer(layers.Conv2D(5, (2, 3), name="conv1"), 3)
    kernel = RANDOM.normal(size=(2, 3, 3, 5))
    model.set_weights([kernel, np.zeros(5)])
    shown = drawn(plot_filters(model))
    assert shown.shape == (2 * 3 - 1, 3 * 4 - 1, 3)
    fourth = 0.5 + 0.5 * kernel[..., 3] / np.abs(kernel[..., 3]).max()
    np.testing.assert_allclose(shown[3:5, 0:3], fourth, atol=1e-6)
    np.testing.assert_array_equal(shown[3:, 8:], np.ones((2, 3, 3)))


def test_filters_of_many_maps_are_a_table():
    model = one_layer(layers.Conv2D(20, 1, name="conv1"), 4)
    kernel = RANDOM.normal(size=(1, 1, 4, 20))
    model.set_weights([kernel, np.zeros(20)])
    picture = plot_filters(model, "conv1")
    shown = drawn(picture)[::2, ::2, 0]
    scaled = 0.5 + 0.5 * kernel[0, 0] / np.abs(kernel[0, 0]).max(0)
    np.testing.assert_allclose(shown, scaled.T[:16], atol=1e-6)
    title = picture.figure.axes[0].get_title()
    assert title == "conv1: 1x1 conv 20\n16 of 20 filters, 4 of 4 maps"


@pytest.mark.parametrize(
    ("layer", "maps"),
    [
        (layers.DepthwiseConv2D(3, name="dw"), None),
        (layers.SeparableConv2D(9, 3, name="sep"), None),
        (layers.Conv2DTranspose(5, 3, name="up"), 2),
    ],
)
def test_filters_of_other_convolutions(layer, maps):
    model = one_layer(layer, 2)
    kernel = np.zeros(model.get_weights()[0].shape, "float32")
    kernel[1, 1, 1, 0] = 1  # of the second map; of a transposed one the second filter
    weights = model.get_weights()
    model.set_weights([kernel, *weights[1:]])
    shown = drawn(plot_filters(model))
    rows, columns = np.argwhere(shown[..., 0] == 1)[0]
    assert (rows // 4, columns // 4) == ((1, 0) if maps else (0, 1))


def test_filters_refused():
    with pytest.raises(
        ValueError, match=r"'conv1_relu' has no kernels .* conv1, conv2"
    ):
        plot_filters(tiny(), "conv1_relu")
    with pytest.raises(ValueError, match="'conv' is not a layer of model 'tiny'"):
        plot_filters(tiny(), "conv")
    dense = one_layer(layers.Flatten(), 1)
    with pytest.raises(ValueError, match=r"layer=None has no kernels .* are none\."):
        plot_filters(dense)
    with pytest.raises(ValueError, match=r"'resnet18' was built without weights"):
        plot_filters(structure("resnet18-v1"))
    with pytest.raises(TypeError, match="functional"):
        plot_filters(keras.Model())


def test_only_2d_convolutions_have_filters():
    attention = keras.Sequential(
        [keras.Input((3, 4)), layers.EinsumDense("abc,cdef->abdef", (3, 2, 5, 6))]
    )
    series = keras.Sequential([keras.Input((9, 3)), layers.Conv1D(4, 3)])
    for model in (attention, series):
        with pytest.raises(ValueError, match=r"the 2D convolutions of .* are none"):
            plot_filters(model)


def test_filters_that_are_not_finite_have_no_scale():
    model = one_layer(layers.Conv2D(2, 1, name="conv1"), 3)
    model.set_weights([np.full((1, 1, 3, 2), np.nan), np.zeros(2)])
    with pytest.raises(ValueError, match=r"layer=.conv1. has kernels .* not finite"):
        plot_filters(model)


def test_filters_inside_a_model():
    inner, image = tiny(), keras.Input((8, 8, 3), name="photo")
    outer = keras.Model(image, inner(image), name="outer")
    around = keras.Sequential([keras.Input((8, 8, 3), name="picture"), outer])
    with pytest.raises(
        ValueError, match=r"layer=None .* 'outer' stand inside .* draw model.get_layer"
    ) as error:
        plot_filters(outer)
    assert str(error.value).endswith(" draw model.get_layer('tiny').")
    with pytest.raises(ValueError, match=r"\('outer'\).get_layer\('tiny'\)\.$"):
        plot_filters(around, "outer")
    shown = plot_filters(around.get_layer("outer").get_layer("tiny"))
    np.testing.assert_array_equal(drawn(shown), drawn(plot_filters(inner)))
    with pytest.raises(
        ValueError, match=r"must be the name of a layer, found \['conv1"
    ):
        plot_filters(inner, ["conv1"])


def test_history_of_a_training():
    model = one_layer(layers.GlobalAveragePooling2D(name="pool1"), 1)
    model.add(layers.Dense(1, name="head"))
    model.compile("sgd", "mse", metrics=["mae"])
    images, targets = np.ones((4, 8, 8, 1)), np.ones((4, 1))
    history = model.fit(
        images, targets, epochs=2, validation_data=(images, targets), verbose=0
    )
    axes = plot_history(history).figure.axes
    assert sorted(each.get_title() for each in axes) == ["loss", "mae"]
    for each in axes:
        training, validation = each.lines
        name = each.get_title()
        np.testing.assert_array_equal(training.get_xdata(), [1, 2])
        np.testing.assert_allclose(training.get_ydata(), history.history[name])
        np.testing.assert_allclose(
            validation.get_ydata(), history.history[f"val_{name}"]
        )
        assert training.get_color() != validation.get_color()


def test_history_begins_where_training_went_on():
    model = one_layer(layers.Flatten(name="flat"), 1)
    model.add(layers.Dense(1, name="head"))
    model.compile("sgd", "mse")
    images, targets = np.ones((4, 8, 8, 1)), np.ones((4, 1))
    history = model.fit(images, targets, initial_epoch=4, epochs=6, verbose=0)
    (axes,) = plot_history(history).figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [5, 6])
    assert axes.get_xlim() == (4.5, 6.5)
    (axes,) = plot_history({"loss": [1.0]}).figure.axes
    assert [tick for tick in axes.get_xticks() if 0.5 <= tick <= 1.5] == [1]


def test_many_metrics_stand_in_rows():
    names = ("loss", "val_loss", *"abcdef")
    figure = plot_history({name: [1.0, 2.0] for name in names}).figure
    assert [axes.get_title() for axes in figure.axes] == ["loss", *"abcdef"]
    assert tuple(figure.get_size_inches()) == pytest.approx((13.5, 9.6))
    figure.draw_without_rendering()
    tops = [round(axes.get_position().y1, 3) for axes in figure.axes]
    assert tops == [tops[0]] * 3 + [tops[3]] * 3 + [tops[6]]
    assert tops[0] > tops[3] > tops[6]


def test_names_of_metrics_are_no_formulas():
    picture = plot_history({r"$\bad$": [1, 2]})
    assert picture.render("svg")
    assert picture.figure.axes[0].get_title() == r"$\bad$"


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({}, "history must be what model.fit returned"),
        ([1.0], "history must be what model.fit returned"),
        ({1: [1, 2]}, r"a list of numbers for each name, .* found \[1, 2\] for 1\."),
        ({"loss": ["a"]}, r"list of numbers .* found \['a'\] for 'loss'\."),
        ({"loss": [[1], [1, 2]]}, r"found \[\[1\], \[1, 2\]\] for 'loss'"),
        ({"loss": 1.0}, "found 1.0 for 'loss'"),
        ({"loss": []}, r"history\['loss'\] has 0 values for 0 epochs"),
        ({"loss": [1.0, 2.0], "val_loss": [1.0]}, r"'val_loss'. has 1 values for 2"),
    ],
)
def test_history_refused(history, message):
    with pytest.raises(ValueError, match=message):
        plot_history(history)


def test_confusion_counts():
    labels, predictions = [0, 0, 0, 2, 1], [0, 1, 1, 2, 2]
    picture = plot_confusion((labels, predictions))
    expected = np.array([[1, 2, 0], [0, 0, 1], [0, 0, 1]])
    np.testing.assert_allclose(
        drawn(picture), expected / expected.sum(1, keepdims=True)
    )
    axes = picture.figure.axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "1", (1, 0): "2", (2, 1): "1", (2, 2): "1"}
    assert axes.get_title() == "40.0 % of 5 right"
    again = plot_confusion(expected.tolist(), ["ant", "$bee", "cat"])
    np.testing.assert_array_equal(drawn(again), drawn(picture))
    assert [t.get_text() for t in again.figure.axes[0].get_yticklabels()] == [
        *("ant", "$bee", "cat"),
    ]


@pytest.mark.parametrize("names", [range(2), [0, 1], np.array(["0", "1"]), iter("01")])
def test_confusion_names_of_any_kind(names):
    axes = plot_confusion([[1, 2], [3, 4]], names).figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["0", "1"]


@pytest.mark.parametrize("classes", [2, 60])
def test_confusion_shortens_long_names(classes):
    names = ["x" * 200, f"two\nlines of {'W' * 21}", *["W" * 32] * (classes - 2)]
    picture = plot_confusion(np.eye(classes, dtype=int), names)
    picture.render("png")  # matplotlib warns where no room is left
    axes = picture.figure.axes[0]
    shown = [t.get_text() for t in axes.get_xticklabels()]
    assert shown[:2] == ["x" * 31 + "…", f"two lines of {'W' * 18}…"]
    assert set(shown[2:]) <= {"W" * 32}
    assert axes.bbox.width > 200


def test_a_matrix_of_tuples_is_a_matrix():
    rows = ((50, 3), (2, 45))
    np.testing.assert_array_equal(
        drawn(plot_confusion(rows)), drawn(plot_confusion(np.array(rows)))
    )


def test_confusion_of_many_classes_has_a_bar_for_numbers():
    picture = plot_confusion(np.eye(130, dtype=int))
    axes, bar = picture.figure.axes
    assert bar.get_ylabel() == "share of the true class"
    assert len(plot_confusion(np.eye(20, dtype=int)).figure.axes) == 1
    assert not axes.texts
    assert [int(t.get_text()) for t in axes.get_xticklabels()] == [*range(0, 130, 3)]
    empty = plot_confusion(([0], [0]), ["a", "b"])  # a class without images
    np.testing.assert_array_equal(drawn(empty), [[1, 0], [0, 0]])


@pytest.mark.parametrize(
    ("matrix", "names", "message"),
    [
        ([[1, 2, 3]], None, r"counts, .* found int64 of shape \(1, 3\) from 1"),
        ([[0.5]], None, "found float64"),
        ([[-1]], None, "from -1"),
        ([[1]], ["a", "b"], "names holds 2 names for 1 classes"),
        (([0, 1], [0]), None, r"labels, predictions.* shape \(2,\) .* shape \(1,\)"),
        (([0], [-1]), None, "one class per image, found .* from -1"),
        (([[0.1, 0.9]], [1]), None, "one class per image, found float64"),
        (([0], [0], [0]), None, "A tuple must be"),
        (([], []), None, "A tuple must be"),
        ([[1], [1, 2]], None, "counts, .* found what is no array of numbers"),
        (([[1], [1, 2]], [0]), None, "found what is no array of numbers and int64"),
        ([[1]], 3, "names must be a list of the classes' names in order, found 3"),
        ([[1]], "a", "names must be a list of the classes' names in order, found 'a'"),
        ([[1]], {0: "a"}, r"names must be a list .* found {0: 'a'}\."),
        (([10**6], [0]), None, "classes up to 1,000,000, and at most 5,000 classes"),
        (([0], [0]), range(5001), "classes up to 5,000, and at most 5,000 classes"),
        (([0, 5], [0, 1]), ["a", "b"], "class 5 has no name: names holds 2"),
    ],
)
def test_confusion_refused(matrix, names, message):
    with pytest.raises(ValueError, match=message):
        plot_confusion(matrix, names)


def test_pictures_are_saved(tmp_path):
    picture = plot_history({"loss": [1.0, np.nan, 0.5]})
    assert isinstance(picture.figure, Figure)
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}
    for kind, start in starts.items():
        path = tmp_path / f"loss.{kind}"
        picture.save(path)
        content = path.read_bytes()
        assert content.startswith(start)
        assert content == plot_history({"loss": [1.0, np.nan, 0.5]}).render(kind)
    assert "<svg" in picture._repr_svg_()
    with pytest.raises(
        ValueError, match=r"must end in one of .svg, .png, .pdf, found '\.jpg'"
    ):
        picture.save(tmp_path / "loss.jpg")
    with pytest.raises(OSError, match="cannot be written: No such file"):
        picture.save(tmp_path / "missing" / "loss.png")
    assert {path.name for path in tmp_path.iterdir()} == {f"loss.{k}" for k in starts}
