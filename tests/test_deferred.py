"""Building without random values, on the backend of the process."""

import gc
import sys

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.backend.common import global_state
from small_nets import answers, randomised, values

import convzoo
from convzoo import load_model, load_weights, save_weights
from convzoo.deferred import awaiting_weights, deep_graphs, fill, without_weights
from convzoo.pretrained import files
from convzoo.pretrained.readers import safetensors_file


def net(seed=0):
    """Every kind of state: weights, statistics, dropout's random state."""
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, use_bias=False, name="conv1")(image)
    x = layers.BatchNormalization(name="conv1_bn")(x)
    x = layers.Dropout(0.5, seed=seed, name="drop1")(x)
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    return keras.Model(image, layers.Dense(3, name="head_predictions")(x), name="net")


def deferred(path):
    """Build the network and fill it before a variable has a value."""
    with awaiting_weights():
        model = net()
        load_weights(model, path)
    return model


def trained(model):
    """Take three steps, which lower the loss and change every variable."""
    random = np.random.default_rng(0)
    images = random.normal(size=(8, 8, 8, 3)).astype("float32")
    labels = random.normal(size=(8, 3)).astype("float32")
    model.compile("sgd", "mse")
    before = values(model)
    losses = [float(model.train_on_batch(images, labels)) for _ in range(3)]
    assert losses[2] < losses[0]
    assert not any(map(np.array_equal, before, values(model)))
    return model


def test_a_deferred_model_learns_is_saved_and_built_again(tmp_path):
    first = save_weights(randomised(net()), tmp_path / "first.safetensors")
    model = deferred(first)
    tensors = safetensors_file.read(first).tensors
    for layer in model.layers:
        for variable in layer.weights:
            stored = tensors[f"{layer.name}/{variable.name}"].read()
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), stored)
    trained(model)
    model.save(tmp_path / "net.keras")
    expected = answers(model)
    np.testing.assert_array_equal(answers(load_model(tmp_path / "net.keras")), expected)
    again = deferred(save_weights(model, tmp_path / "second.safetensors"))
    np.testing.assert_array_equal(answers(again), expected)
    trained(again)


def test_what_no_file_fills_starts_as_usual(tmp_path):
    path = save_weights(randomised(net()), tmp_path / "a.safetensors")
    with awaiting_weights():
        model = net()
        load_weights(model, path, skip_head=True)
    kernel, bias = model.get_layer("head_predictions").get_weights()
    assert len(np.unique(kernel)) == kernel.size
    assert not bias.any()
    images = np.ones((2, 8, 8, 3), "float32")
    dropped = [np.asarray(keras.ops.convert_to_numpy(model(images, training=True)))]
    dropped += [keras.ops.convert_to_numpy(model(images, training=True))]
    assert not np.array_equal(*dropped)


def test_nothing_waits_afterwards(tmp_path):
    """Keras fills what waits when the next model is built: it must find nothing."""
    path = save_weights(randomised(net()), tmp_path / "a.safetensors")
    deferred(path)
    with without_weights():
        net()
    with pytest.raises(ValueError, match="does not fit"), awaiting_weights():
        load_weights(net(), broken(path))
    assert not global_state.get_global_attribute("uninitialized_variables", [])
    untouched = net()
    assert all(np.isfinite(value).all() for value in values(untouched))


def broken(path):
    """A file whose last array is NaN."""
    tensors = {
        name: array.read().copy()
        for name, array in safetensors_file.read(path).tensors.items()
    }
    tensors["head_predictions/bias"][:] = np.nan
    checkpoint = files.read(path)
    files.write(path, tensors, checkpoint.metadata, checkpoint.layers)
    return path


def test_a_value_is_the_models_own(tmp_path):
    """Training must not write into the file, nor the file's change reach the model."""
    path = save_weights(randomised(net()), tmp_path / "a.safetensors")
    before = path.read_bytes()
    model = deferred(path)
    expected = values(model)
    path.write_bytes(bytes(len(before)))
    assert all(map(np.array_equal, expected, values(model)))
    path.write_bytes(before)
    trained(model)
    assert path.read_bytes() == before


def test_without_weights_a_file_fills_all_the_same(tmp_path):
    path = save_weights(model := randomised(net()), tmp_path / "a.safetensors")
    with without_weights():
        filled = net()
        load_weights(filled, path)
    assert all(map(np.array_equal, values(model), values(filled)))


def test_fill_takes_both_kinds_of_variables():
    ready = keras.Variable(np.zeros(3, "float32"))
    fill(ready, np.arange(3, dtype="float32"))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(ready), [0, 1, 2])


def test_what_a_file_fills_is_never_drawn(tmp_path):
    def refuse(shape, dtype):
        raise AssertionError(f"drew {shape} of {dtype}")

    def dense(initializer):
        image = keras.Input((3,), name="image")
        layer = layers.Dense(2, kernel_initializer=initializer, name="fc1")
        return keras.Model(image, layer(image))

    path = save_weights(model := randomised(dense("ones")), tmp_path / "a.safetensors")
    with awaiting_weights():
        filled = dense(refuse)
        load_weights(filled, path)
    assert all(map(np.array_equal, values(model), values(filled)))
    with pytest.raises(AssertionError, match="drew"), awaiting_weights():
        dense(refuse)


def test_builders_wait_for_their_weights(tmp_path):
    """A builder that gets weights must not start random ones first."""
    path = save_weights(
        model := randomised(convzoo.lenet()), tmp_path / "a.safetensors"
    )
    seen = []
    original = keras.initializers.GlorotUniform.__call__
    try:
        keras.initializers.GlorotUniform.__call__ = lambda *args, **settings: (
            seen.append(args) or original(*args, **settings)
        )
        filled = convzoo.lenet(weights=path)
        assert not seen
        convzoo.lenet()
        assert seen
    finally:
        keras.initializers.GlorotUniform.__call__ = original
    assert all(map(np.array_equal, values(model), values(filled)))


def test_the_garbage_collector_is_left_as_it_was(tmp_path):
    path = save_weights(randomised(net()), tmp_path / "a.safetensors")
    for usual in (gc.enable, gc.disable):
        usual()
        before = gc.isenabled()
        deferred(path)
        with pytest.raises(ZeroDivisionError), awaiting_weights():
            _ = 1 / 0
        assert gc.isenabled() is before
        gc.enable()


def test_deep_graphs_of_several_threads_share_one_limit():
    usual = sys.getrecursionlimit()
    with deep_graphs():
        with deep_graphs():
            assert sys.getrecursionlimit() >= 20_000
        assert sys.getrecursionlimit() >= 20_000
    assert sys.getrecursionlimit() == usual
    first, second = deep_graphs(), deep_graphs()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # the first to come is the first to go
    assert sys.getrecursionlimit() >= 20_000
    second.__exit__(None, None, None)
    assert sys.getrecursionlimit() == usual
