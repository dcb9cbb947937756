"""Weight files: written whole, recognised by content, refused in one sentence."""

import json
import os
import pickle
import resource
import zipfile

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy
from keras import layers
from small_nets import (
    FORMATS,
    answers,
    randomised,
    refused,
    saved,
    tiny,
    values,
)

from convzoo import lenet, load_model, load_weights, save_weights
from convzoo.models.plan import Origin
from convzoo.pretrained import files


def test_saving_is_deterministic_and_readable_by_others(tmp_path):
    model = tiny()
    first = save_weights(model, tmp_path / "first.safetensors")
    load_weights(other := tiny(), first)
    second = save_weights(other, str(tmp_path / "second.safetensors"))
    assert first.read_bytes() == second.read_bytes()
    tensors = safetensors.numpy.load_file(first)
    np.testing.assert_array_equal(tensors["conv1/kernel"], values(model)[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "first.safetensors",
        "second.safetensors",
    ]


def test_others_may_read_what_the_umask_allows(tmp_path):
    before = os.umask(0o027)
    try:
        path = save_weights(tiny(), tmp_path / "a.safetensors")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = save_weights(tiny(), tmp_path / "a.safetensors")
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match=r"a\.safetensors could not be written"):
            save_weights(tiny(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with path.open("rb") as reading:
        save_weights(tiny(), path)
        assert reading.read() == before


def test_saving_refuses_what_could_not_be_loaded(tmp_path):
    model = tiny()
    with pytest.raises(
        ValueError, match=r"layout='tim' is not known, did you mean 'timm'"
    ):
        save_weights(model, tmp_path / "a.safetensors", layout="tim")
    with pytest.raises(ValueError, match=r"must end in \.safetensors, found .*a\.h5"):
        save_weights(model, tmp_path / "a.h5")
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent: create it first"):
        save_weights(model, tmp_path / "absent" / "a.safetensors")
    model.weights[0].assign(np.full(model.weights[0].shape, np.nan))
    with pytest.raises(ValueError, match=r"'conv1/kernel' .* NaN or inf"):
        save_weights(model, tmp_path / "a.safetensors")
    nested = keras.Sequential([keras.Input((8, 8, 3)), tiny(name="inner")])
    with pytest.raises(ValueError, match=r"'inner' is a model itself"):
        save_weights(nested, tmp_path / "a.safetensors")
    twice = layers.Bidirectional(layers.SimpleRNN(2), name="both")
    double = keras.Sequential([keras.Input((3, 2)), twice])
    with pytest.raises(ValueError, match=r"'both' has two variables 'both/kernel'"):
        save_weights(double, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_metadata_is_what_the_builders_need(tmp_path):
    def metadata(path):
        return files.read(path).metadata

    model = tiny()
    assert metadata(save_weights(model, tmp_path / "a.safetensors")) == {}
    origin = Origin("vgg16", "plain", {"batch_norm": True}, 3, True, None)
    object.__setattr__(model, "origin", origin)
    assert metadata(save_weights(model, tmp_path / "b.safetensors")) == {
        "builder": "vgg16",
        "variant": "plain",
        "options": {"batch_norm": True},
        "classes": 3,
    }
    for name in FORMATS[1:]:
        assert metadata(saved(model, tmp_path / name)) == {"classes": 3}
        assert metadata(saved(tiny(top=False), tmp_path / name)) == {}
    with pytest.raises(FileNotFoundError, match=r"no weight file .*absent"):
        metadata(tmp_path / "absent")


@pytest.mark.parametrize("name", FORMATS)
def test_truncated_files_are_refused(tmp_path, name):
    model, other = tiny(), tiny()
    whole = saved(model, tmp_path / name).read_bytes()
    cut = tmp_path / "cut"
    lengths = {0, 1, 7, 8, 9, 12, 100, *range(200, len(whole), len(whole) // 12)}
    for length in (*sorted(lengths), len(whole) - 1):
        cut.write_bytes(whole[:length])
        text = refused(
            other, cut, r"cut is not a weight file that convzoo reads: found "
        )
        assert files.ACCEPTED in text


def _zip(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)


def test_other_files_are_named(tmp_path):
    path, model = tmp_path / "other", tiny()

    def found(message):
        refused(model, path, rf"found {message}")

    path.write_bytes(b"")
    found(r"an empty file, accepted are \.safetensors of convzoo")
    path.write_bytes(b"<!DOCTYPE html><html>")
    found(r"data that begin with b'<!DOCTYPE html><'")
    path.write_bytes(pickle.dumps({"conv1": 1}, 2))
    found("a file that torch.save did not write")
    _zip(path, archive__data_pkl=b"")
    found(r"a damaged pickle \(")
    _zip(path, readme_md=b"")
    found(r"a zip archive without config\.json and model\.weights\.h5")
    safetensors.numpy.save_file({"conv1.weight": np.ones(3, "float32")}, path)
    found(
        r"a safetensors file of a network that the zoo does not have \(it begins with "
        r"'conv1\.weight' of shape \(3,\)\)"
    )
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["conv1"]
    found("an HDF5 file without 'conv1'")
    with h5py.File(path, "w") as file:
        file["data"] = np.ones(3)
    found("an HDF5 file without weights of Keras")
    path.write_bytes(b"\x0a\x05hello")
    found("no Caffe model")
    path.unlink()
    path.mkdir()
    found("a folder")
    with pytest.raises(FileNotFoundError, match=r"There is no weight file .*absent"):
        load_weights(model, tmp_path / "absent.safetensors")
    with pytest.raises(TypeError, match=r"a name, a path or a record .* found int"):
        load_weights(model, 3)


def test_later_formats_and_broken_headers_are_refused(tmp_path):
    path, model = tmp_path / "a.safetensors", tiny()
    tensors = {"conv1/kernel": np.ones(3, "float32")}

    def header(text):
        safetensors.numpy.save_file(tensors, path, {"convzoo": text})

    header(json.dumps({"version": 2, "layers": {}}))
    refused(model, path, r"found version 2 of convzoo's format, of which .* reads 1")
    for text in ("{", "[]", "{}", '{"version": 1}', '{"version": 1, "layers": 3}'):
        header(text)
        refused(model, path, r"found a damaged safetensors file \(")
    header(json.dumps({"version": 1, "layers": {"conv1": "class"}}))
    refused(model, path, r"found a convzoo file with incomplete settings")


def test_a_zip_bomb_is_refused(tmp_path):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(100_000_000))
    refused(tiny(), path, r"found \d+ bytes that claim to unpack to 100000002")


def test_load_model_opens_layers_of_the_zoo(tmp_path):
    model = randomised(lenet(variant="paper"))
    model.save(tmp_path / "lenet.keras")
    opened = load_model(tmp_path / "lenet.keras")
    image = np.random.default_rng(0).uniform(size=(1, 32, 32, 1))
    np.testing.assert_array_equal(answers(model, image), answers(opened, image))


def test_load_model_refuses_in_one_sentence(tmp_path):
    whole = saved(tiny(), tmp_path / "a.keras").read_bytes()
    cut = tmp_path / "cut.keras"
    for length in (0, 10, len(whole) // 2):
        cut.write_bytes(whole[:length])
        with pytest.raises(
            ValueError, match=r"cut\.keras cannot be opened as a .keras"
        ):
            load_model(cut)
    with pytest.raises(FileNotFoundError, match=r"There is no model file .*absent"):
        load_model(tmp_path / "absent.keras")
    with pytest.raises(ValueError, match=r"opens \.keras files, found .*a\.h5"):
        load_model(tmp_path / "a.h5")
    image = keras.Input((2,))
    unsafe = keras.Model(image, layers.Lambda(lambda x: x, name="code")(image))
    unsafe.save(cut)
    with pytest.raises(
        ValueError, match=r"cannot be opened as a \.keras model"
    ) as caught:
        load_model(cut)
    assert "\n" not in str(caught.value)
