"""Records of published weights: complete, verified, found by name."""

import dataclasses
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from small_nets import equal, refused, tiny

from convzoo import lenet, load_weights, save_weights
from convzoo.models.plan import Origin
from convzoo.pretrained.files import metadata
from convzoo.pretrained.records import (
    RECORDS,
    find,
    list_weights,
    shipped_folder,
    shipped_models,
    verified,
    weights_info,
)

RECORD = weights_info("lenet", "mnist")


def test_every_record_is_complete():
    assert [(record.variant, record.name) for record in RECORDS] == [
        ("modern", "mnist"),
        ("paper", "mnist"),
    ]
    for record in RECORDS:
        assert len(record.labels) == record.classes
        channels = record.input_shape[-1]
        assert len(record.mean) == len(record.std) == channels
        assert record.licence
        assert hash(record)
    grey = (np.array([0.0, 1.0]) - RECORD.mean[0]) / RECORD.std[0]
    np.testing.assert_allclose(grey, [-0.1, 1.175])


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.file)
def test_shipped_weights_are_the_published_ones(record):
    assert record.path() == shipped_folder() / record.file
    assert record.top1_error is not None
    assert 0 < record.top1_error <= 0.0095
    facts = metadata(record.path())
    assert (facts["builder"], facts["variant"]) == (record.model, record.variant)
    assert facts["classes"] == record.classes
    model = lenet(variant=record.variant)
    report = load_weights(model, record.name)
    assert report.source == str(record.path())
    assert (report.kept, report.unused) == ((), ())


def test_a_changed_or_missing_file_is_not_the_published_one(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()
    assert verified(path, right, 7) == path
    wrong = hashlib.sha256(b"WEIGHTS").hexdigest()
    with pytest.raises(
        ValueError, match=f"expected 7 bytes .* {wrong}, found 7 .* {right}"
    ):
        verified(path, wrong, 7)
    with pytest.raises(ValueError, match=r"expected 8 bytes .*, found 7 bytes"):
        verified(path, right, 8)
    with pytest.raises(FileNotFoundError, match=r"gone are missing: reinstall convzoo"):
        verified(tmp_path / "gone", right, 7)


def _record(model, path, **changes):
    save_weights(model, path)
    content = path.read_bytes()
    return dataclasses.replace(
        RECORD,
        file=str(path),
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        **changes,
    )


def test_a_record_is_loaded_after_its_hash(tmp_path):
    path = tmp_path / "a.safetensors"
    record = _record(model := tiny(), path)
    load_weights(other := tiny(), record)
    assert equal(model, other)
    path.write_bytes(path.read_bytes().replace(b"conv1", b"conv9"))
    refused(tiny(), record, r"a\.safetensors is not the published file: expected")


def test_a_rescaling_inside_the_model_must_be_the_records(tmp_path):
    record = _record(
        tiny(), tmp_path / "a.safetensors", mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.2)
    )
    scale = [1 / (255 * std) for std in record.std]
    offset = [-0.2, -0.5, -1.5]
    load_weights(tiny(rescaling=(scale, offset)), record)
    load_weights(tiny(rescaling=([1 / 127.5] * 4, [-1] * 4), channels=4), record)
    refused(
        tiny(rescaling=(1 / 127.5, -1)),
        record,
        r"'image_rescaling' rescales by .* the weights expect .* with weights='mnist'",
    )


def test_names_are_resolved_by_the_models_origin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny()
    with pytest.raises(ValueError, match=r"no weight file 'mnist', .* weights_info\("):
        load_weights(model, "mnist")
    object.__setattr__(model, "origin", Origin("lenet", "modern", {}, 10, True, None))
    with pytest.raises(ValueError, match=r"weights='minst' .* mean 'mnist'"):
        load_weights(model, "minst")
    with pytest.raises(
        FileNotFoundError, match=r"There is no weight file minst\.keras"
    ):
        load_weights(model, "minst.keras")
    save_weights(model, tmp_path / "a.safetensors").rename("plain")
    assert load_weights(model, "plain").format == "safetensors"


def test_lists_and_lookups():
    assert list_weights() == ["lenet/mnist"]
    assert list_weights("lenet") == ["mnist"]
    assert list_weights("vgg16") == []
    assert shipped_models() == ["lenet"]
    assert weights_info("lenet", "mnist").variant == "modern"
    assert weights_info("lenet", "mnist", "paper").variant == "paper"
    assert find("lenet", "mnist", options={"other": 1}).variant == "modern"
    for call, message in (
        (lambda: list_weights("lennet"), r"model='lennet' .* you mean 'lenet'\?"),
        (lambda: find("lennet", "mnist"), r"model='lennet' .* you mean 'lenet'\?"),
        (
            lambda: find("vgg16", "imagenet"),
            r"No weights are published for vgg16, .* exist for 'lenet'",
        ),
        (
            lambda: find("lenet", "imagenet"),
            r"weights='imagenet' is not known; accepted: 'mnist'\.",
        ),
        (
            lambda: find("lenet", "mnist", "papers"),
            r"variant='papers' has no weights lenet/mnist, did you mean 'paper'\?; "
            r"they exist for 'modern', 'paper'\.",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_options_choose_among_records_of_one_name(monkeypatch):
    wide, slim = (
        dataclasses.replace(RECORD, options={"alpha": alpha}, file=f"{alpha}")
        for alpha in (1.0, 0.5)
    )
    monkeypatch.setattr("convzoo.pretrained.records.RECORDS", (wide, slim))
    assert find("lenet", "mnist") is wide
    assert find("lenet", "mnist", options={"alpha": 0.5}) is slim
    with pytest.raises(
        ValueError, match=r"exist for the options .*0\.5.*, found .*0\.7"
    ):
        find("lenet", "mnist", options={"alpha": 0.7})


def test_decode_names_the_best_classes():
    rows = np.full((2, 10), 0.02)
    rows[0, [7, 3]] = 0.52, 0.32
    rows[1, 1] = 0.82
    first, second = RECORD.decode(rows, top=2)
    assert first == [("7", 7, 0.52), ("3", 3, 0.32)]
    assert (first[0].label, first[0].index, first[0].probability) == ("7", 7, 0.52)
    assert second[0].label == "1"
    assert [len(best) for best in RECORD.decode(rows, top=99)] == [10, 10]
    for top in (0, True, 1.0):
        with pytest.raises(
            ValueError, match=r"top must be a whole number of at least 1"
        ):
            RECORD.decode(rows, top=top)
    with pytest.raises(ValueError, match=r"shape \(images, 10\), found \(10,\)"):
        RECORD.decode(rows[0])
    with pytest.raises(ValueError, match=r"shape \(images, 10\), found \(2, 9\)"):
        RECORD.decode(rows[:, :9])
    for bad in (rows * 2, rows * np.nan, np.eye(10) * 2 - 0.1):
        with pytest.raises(
            ValueError, match=r"must be probabilities, .* apply softmax"
        ):
            RECORD.decode(bad)


def test_preprocess_scales_as_the_paper():
    field = np.zeros((28, 28), np.uint8)
    field[4:24, 12:16] = 255
    batch = RECORD.preprocess([field, field])
    assert batch.shape == (2, 32, 32, 1)
    assert batch.dtype == np.float32
    np.testing.assert_allclose([batch.min(), batch.max()], [-0.1, 1.175], rtol=1e-5)


def test_records_import_no_keras():
    code = "import sys, convzoo.pretrained.records, convzoo.pretrained.files as f; "
    code += "sys.exit('keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
