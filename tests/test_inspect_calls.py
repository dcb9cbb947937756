"""What is read of a model: its calls, their order, shapes and strides."""

import math
from pathlib import Path

import keras
import numpy as np
import pytest
from calibrated import difference
from foreign_nets import application, named_outputs, nested, repeated, sequential
from keras import layers

import convzoo
from convzoo.anatomy import layer_strides, links, taps
from convzoo.arguments import whole_number
from convzoo.calls import network, strides
from convzoo.inspect.features import feature_maps


@pytest.mark.parametrize("name", ["MobileNet", "InceptionV3", "ResNet50"])
def test_strides_are_what_the_maps_show(name):
    model = application(name)
    size = model.input_shape[1]
    shown = {
        layer.name: 2 ** round(math.log2(size / layer.output.shape[1]))
        for layer in model.layers
        if len(layer.output.shape) == 4 and layer.output.shape[1] > 1
    }
    found = layer_strides(model)
    assert shown == {layer: found[layer] for layer in shown}


def test_order_keeps_branches_together_as_their_arguments_stand():
    image = keras.Input((8, 8, 3), name="image")
    short = layers.Conv2D(4, 1, name="short")(image)
    first = layers.Conv2D(4, 1, name="first")(image)
    last = layers.Conv2D(4, 1, name="last")(first)
    model = keras.Model(image, layers.Add(name="sum")([short, last]))
    order = ["image", "short", "first", "last", "sum"]
    assert list(links(model)) == list(network(model).calls) == order
    assert list(layer_strides(model)) == order


def test_a_layer_called_again_stands_where_its_last_call_does():
    model = repeated()
    order = ["left", "right", "shared", "total"]
    assert list(links(model)) == list(layer_strides(model)) == order
    assert links(model)["shared"] == ("left", "shared", "right")
    image = keras.Input((8, 8, 3), name="image")
    shared = layers.Conv2D(3, 3, 2, padding="same", name="shared")
    twice = keras.Model(image, shared(shared(image)))
    assert layer_strides(twice) == {"image": 1, "shared": 4}
    assert taps(twice) == {2: "shared", 4: "shared"}


def test_inputs_that_nothing_reads_come_last():
    image, unread = keras.Input((4,), name="image"), keras.Input((4,), name="unread")
    model = keras.Model([unread, image], layers.Dense(2, name="dense")(image))
    assert list(links(model)) == ["image", "dense", "unread"]


def test_links_of_sequential_models_and_of_models_in_models():
    model = sequential()
    first, second, third = (layer.name for layer in model.layers)
    assert links(model) == {first: (), second: (first,), third: (second,)}
    assert links(nested())["tail"] == ("inner",)
    resized = keras.ops.image.resize(image := keras.Input((8, 8, 3)), (16, 16))
    assert set(layer_strides(keras.Model(image, resized)).values()) == {1}


def test_calls_of_a_shared_layer_are_told_apart():
    net = network(repeated())
    found = {name: [t.call for t in call.sources] for name, call in net.calls.items()}
    assert sorted(found) == ["left", "right", "shared", "shared#2", "shared#3", "total"]
    assert len(found["total"]) == 2
    order = list(net.calls)
    assert all(order.index(s) < order.index(n) for n in found for s in found[n])


def test_shapes_of_dictionary_outputs():
    net = network(named_outputs())
    assert {(t.call, net.shapes[t]) for t in net.outputs} == {
        ("a1", (None, 3)),
        ("b1", (None, 2)),
    }


def test_strides_of_models_inside_a_model():
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(2, 3, 2)(image)
    inner = keras.Model(image, [x, layers.Conv2D(2, 3, 2)(x)], name="inner")
    stem = keras.Sequential([layers.MaxPooling2D(2)], name="stem")
    outer = keras.Input((32, 32, 3), name="image")
    fine, coarse = inner(stem(outer))
    ends = [layers.ReLU(name="fine")(fine), layers.MaxPooling2D(name="coarse")(coarse)]
    found = strides(network(keras.Model(outer, ends)))
    assert found == {"image": 1, "stem": 2, "inner": 4, "fine": 4, "coarse": 16}
    # The input of a Sequential model is none of its layers.
    tail = keras.Sequential([outer, stem, layers.Conv2D(1, 1, 2, name="tail")])
    assert layer_strides(tail) == {"stem": 2, "tail": 4}


class Functional(keras.Model):
    """A class of its own around a graph, whose constructor Keras cannot tell."""

    def __init__(self, filters):
        image = keras.Input((8, 8, 3), name="image")
        super().__init__(image, layers.Conv2D(filters, 3, name="conv1")(image))


class Overridden(Functional):
    def call(self, x):
        return x


def test_a_class_of_its_own_with_a_graph():
    model = Functional(4)
    assert list(network(model).calls) == list(links(model)) == ["image", "conv1"]
    images = np.ones((1, 8, 8, 3), "float32")
    expected = keras.ops.convert_to_numpy(model(images))
    found = feature_maps(model, images, "conv1")
    assert difference(found, expected) < 1e-6
    with pytest.raises(TypeError, match="Overridden has a call method of its own"):
        network(Overridden(4))


@pytest.mark.parametrize(
    ("model", "advice"),
    [
        (convzoo.resnet50, r"found resnet50: call it first, as in resnet50\(\)\."),
        (Functional, r"found Functional: call it first, as in Functional\(\)\."),
        ("resnet50", r"found str: build it, as in resnet50\(\), or open its file .*"),
        (Path("a.keras"), r"found PosixPath: .* its file with load_model\(path\)\."),
        (keras.Model(), r"found Model: only those have a graph of layers to read\."),
        (layers.ReLU(), r"found ReLU: build one, as in resnet50\(\)\."),
        (None, r"found NoneType: build one, as in resnet50\(\)\."),
    ],
)
def test_what_is_no_model_is_answered_with_what_to_do(model, advice):
    with pytest.raises(TypeError, match=f"^model must be a functional or .*{advice}$"):
        network(model)


def test_whole_numbers_of_numpy():
    whole_number("dpi", np.int64(1))
    for value in (np.int64(0), np.float32(1), np.bool_(True), True, [1]):
        with pytest.raises(ValueError, match="dpi must be a whole number of at least"):
            whole_number("dpi", value)
