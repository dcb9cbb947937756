"""Links that lead around others: copies, crops, skip connections, and what is none."""

import keras
import pytest
from figures import assert_all_is_drawn, conv, drawn, faults, lines_of, texts
from keras import layers

from convzoo import unet
from convzoo.deferred import without_weights
from convzoo.inspect.architecture.plot import plot_architecture


def crossing(join):
    """A network of two inputs that meet, each behind a convolution of its own."""
    first, second = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    x = join([conv(first, 4), conv(second, 4)])
    return keras.Model([first, second], layers.Conv2D(2, 1)(x))


def image_and_numbers():
    image, numbers = keras.Input((32, 32, 3)), keras.Input((5,))
    x = layers.Flatten()(layers.Conv2D(4, 3)(image))
    x = layers.Concatenate()([x, numbers])
    return keras.Model([image, numbers], [layers.Dense(2)(x), layers.Dense(3)(x)])


def written_and_drawn(model):
    figure = plot_architecture(model).figure
    assert faults(figure) == []
    assert_all_is_drawn(model)
    return texts(figure), drawn(figure)


@pytest.mark.parametrize(
    ("join", "word"),
    [(layers.Subtract(), "subtract"), (layers.Concatenate(), "concat")],
)
def test_what_other_inputs_give_is_no_copy(join, word):
    written, counts = written_and_drawn(crossing(join))
    assert written.count(word) == 1
    assert (counts["bar"], counts["merge"], counts["copied"]) == (6, 2, 0)
    assert not {"copy", "skip connection"} & (counts.keys() | set(written))


def test_numbers_beside_an_image_keep_their_bar():
    written, counts = written_and_drawn(image_and_numbers())
    assert written[-6:-1] == [
        "3x3 conv",
        "flatten, concat",
        "concat",
        "dense 2",
        "dense 3",
    ]
    assert {"3", "4", "5", "3605", "2"} <= set(written)
    assert counts["bar"] == 6


def test_each_kind_of_arrow_looks_its_own():
    (axes,) = plot_architecture(image_and_numbers()).figure.axes
    legend = [line for line in axes.lines if line.get_label() == "legend"]
    looks = {(line.get_color(), str(line.get_linestyle())) for line in legend}
    assert len(looks) == len(legend) == 5


def test_an_unused_input_stands_first_and_is_called_so():
    image, number = keras.Input((8, 8, 3)), keras.Input((4,))
    model = keras.Model([image, number], layers.Conv2D(2, 3)(image))
    figure = plot_architecture(model).figure
    where = {text.get_text(): text.get_position()[0] for text in figure.axes[0].texts}
    assert where["unused"] == where["4"] < where["3"] < where["2"] == where["output"]
    assert "unused" not in texts(plot_architecture(crossing(layers.Add())).figure)
    same = keras.Model(image, [image, layers.Conv2D(2, 3)(image)])
    assert "unused" not in texts(plot_architecture(same).figure)


def crops(figure):
    found = [text for text in figure.axes[0].texts if text.get_text()[:5] == "crop "]
    return [
        text.get_text()
        for text in sorted(found, key=lambda text: text.get_position()[1])
    ]


def test_copies_of_the_paper_say_what_they_crop():
    with without_weights():
        figure = plot_architecture(unet(variant="paper")).figure
    assert crops(figure) == ["crop 88", "crop 40", "crop 16", "crop 4"]
    copies = sorted(line[0][1] for line in lines_of(figure, "copy"))
    labels = [text for text in figure.axes[0].texts if text.get_text()[:5] == "crop "]
    heights = sorted(text.get_position()[1] for text in labels)
    assert heights == pytest.approx([y - 8 for y in copies])  # just above its arrow


def test_uneven_crops_are_read_from_the_layers():
    image = keras.Input((29, 29, 1))
    skip = layers.Conv2D(4, 3)(image)
    x = layers.Conv2D(8, 3)(layers.MaxPooling2D(padding="same")(skip))
    x = layers.Cropping2D(((0, 1), (0, 1)))(layers.Conv2DTranspose(4, 2, 2)(x))
    skip = layers.Cropping2D(((3, 1), (1, 3)))(skip)
    model = keras.Model(image, layers.Concatenate()([skip, x]))
    assert crops(plot_architecture(model).figure) == ["crop 1-3"]
    written, counts = written_and_drawn(model)
    assert {"copy and crop n pixels a side", "crop, concat"} <= set(written)
    assert counts["copy"] == 1


@pytest.mark.parametrize(
    ("options", "copies"), [({}, 4), ({"encoder": "vgg16"}, 5), ({"up": "nearest"}, 4)]
)
def test_copies_look_alike_at_odd_sizes(options, copies):
    with without_weights():
        model = unet(input_shape=(101, 77, 3), **options)
    written, counts = written_and_drawn(model)
    assert counts["copy"] == copies
    assert written.count("copy") == 1
    assert "skip connection" not in counts.keys() | set(written)
