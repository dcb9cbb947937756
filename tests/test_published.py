"""Weights by their name, from the publisher to the answer, over a real HTTP server.

Keras publishes no hash for MobileNet's files, so that any file can stand for one.
"""

import keras
import numpy as np
import pytest
from calibrated import calibrate, difference, outputs, randomize
from drawn import pictures
from loopback import body
from test_parity import save_legacy

from convzoo import list_weights, load_weights, mobilenet, resnet50, weights_info
from convzoo.models.plan import FreshHeadWarning
from convzoo.pretrained.record import LicenceWarning, Record

FOLDER = "/tensorflow/keras-applications/mobilenet"
SIDE, ALPHA = 128, 0.25
ROUNDING = 1e-4  # of probabilities in single precision; test_parity compares in double


def reference(include_top):
    """keras.applications' network with random weights, and images in 0..255."""
    model = keras.applications.MobileNet(
        (SIDE, SIDE, 3), ALPHA, include_top=include_top, weights=None
    )
    images = pictures(SIDE)
    prepare = keras.applications.mobilenet.preprocess_input
    randomize(model)
    calibrate(model, prepare(images.copy()))
    return model, images, outputs(model, prepare(images.copy()))


def publish(server, model, tmp_path, name):
    path = tmp_path / name
    save_legacy(model, path)
    server.serve(f"{FOLDER}/{name}", body(path.read_bytes()))


def test_a_name_gives_the_network_its_preprocessing_and_its_labels(server, tmp_path):
    theirs, images, expected = reference(include_top=True)
    publish(server, theirs, tmp_path, "mobilenet_2_5_128_tf.h5")
    shape = (SIDE, SIDE, 3)
    ours = mobilenet(weights="imagenet", alpha=ALPHA, input_shape=shape)
    info = weights_info("mobilenet", "imagenet", alpha=ALPHA, input_shape=shape)
    scaled = keras.applications.mobilenet.preprocess_input(images.copy())
    assert difference(outputs(ours, scaled), expected) < ROUNDING
    batch = info.preprocess(list(images.astype("uint8")))  # resized and cut too
    answers = outputs(theirs, batch)
    best = [row[0].index for row in info.decode(outputs(ours, batch), top=1)]
    assert best == list(answers.argmax(axis=1))
    inside = mobilenet(
        weights="imagenet", alpha=ALPHA, input_shape=shape, include_preprocessing=True
    )
    assert difference(outputs(inside, images), expected) < ROUNDING
    assert server.count(f"{FOLDER}/mobilenet_2_5_128_tf.h5") == 1


def test_other_classes_take_the_smaller_file_and_a_fresh_head(server, tmp_path):
    theirs, images, expected = reference(include_top=False)
    publish(server, theirs, tmp_path, "mobilenet_2_5_128_tf_no_top.h5")
    with pytest.warns(FreshHeadWarning, match="know 1000 classes, the model 5"):
        ours = mobilenet(
            weights="imagenet", alpha=ALPHA, input_shape=(SIDE, SIDE, 3), classes=5
        )
    assert ours.output_shape == (None, 5)
    body_of_ours = keras.Model(ours.input, ours.get_layer("head_pool").input)
    scaled = keras.applications.mobilenet.preprocess_input(images.copy())
    assert difference(outputs(body_of_ours, scaled), expected) < ROUNDING
    assert server.requests == [f"{FOLDER}/mobilenet_2_5_128_tf_no_top.h5"]


def test_a_model_that_is_built_is_filled_by_name(server, tmp_path):
    theirs, images, expected = reference(include_top=True)
    publish(server, theirs, tmp_path, "mobilenet_2_5_128_tf.h5")
    ours = mobilenet(alpha=ALPHA, input_shape=(SIDE, SIDE, 3))
    report = load_weights(ours, "imagenet")
    assert (report.format, report.kept, report.unused) == ("h5", (), ())
    scaled = keras.applications.mobilenet.preprocess_input(images.copy())
    assert difference(outputs(ours, scaled), expected) < ROUNDING


@pytest.mark.usefixtures("server")
def test_a_failed_download_gives_no_model():
    with pytest.raises(OSError, match="HTTP status 404"):
        mobilenet(weights="imagenet", alpha=ALPHA, input_shape=(SIDE, SIDE, 3))


def test_nothing_is_downloaded_unless_asked_for(server):
    mobilenet(alpha=ALPHA)
    list_weights()
    weights_info("mobilenet", "imagenet").decode(np.full((1, 1000), 1e-3))
    assert server.requests == []


@pytest.mark.usefixtures("server")
def test_a_licence_against_commercial_use_is_told():
    name = "imagenet/timm-fb_swsl_ig1b_ft_in1k"
    assert isinstance(weights_info("resnet50", name), Record)
    with (
        pytest.warns(LicenceWarning, match=r"resnet50/\S+ are licensed CC-BY-NC-4.0"),
        pytest.raises(OSError, match="HTTP status 404"),
    ):
        resnet50(weights=name)
