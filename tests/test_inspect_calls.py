"""What is read of a model: its calls, their order, shapes and strides."""

import math

import keras
import pytest
from foreign_nets import application, named_outputs, nested, repeated, sequential
from keras import layers

from convzoo.anatomy import layer_strides, links, taps
from convzoo.calls import network


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
