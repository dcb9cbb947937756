"""Keras' HDF5 and .keras files: read as h5py reads them, and refused without harm."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from small_nets import tiny, values

from convzoo.pretrained.readers import hdf5, keras_archive
from convzoo.pretrained.readers.content import UnreadableError

LAYERS = ["conv1", "conv1_bn", "conv2", "head_predictions"]


@pytest.fixture(scope="module")
def lister():
    with contextlib.closing(hdf5.Lister()) as lister:
        yield lister


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    """The same network as Keras writes it in every format of HDF5."""
    folder = tmp_path_factory.mktemp("written")
    model.save_weights(folder / "a.weights.h5")
    model.save(folder / "a.keras")
    model.save(folder / "full.h5")
    with h5py.File(folder / "weights.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    with h5py.File(folder / "latest.h5", "w", libver="latest") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    with (
        zipfile.ZipFile(folder / "a.keras") as stored,
        zipfile.ZipFile(folder / "deflated.keras", "w", zipfile.ZIP_DEFLATED) as copy,
        zipfile.ZipFile(folder / "extended.keras", "w") as extended,
    ):
        for name in stored.namelist():
            copy.writestr(name, stored.read(name))
            with extended.open(name, "w", force_zip64=True) as member:
                member.write(stored.read(name))
    return folder


def _read(path, lister, trusted=False):
    reader = keras_archive if path.suffix == ".keras" else hdf5
    return reader.read(path, trusted, lister)


def _refused(path, lister, message):
    with pytest.raises(UnreadableError, match=rf"^{message}") as caught:
        _read(path, lister)
    assert "\n" not in str(caught.value)


def _legacy(path, layers, **options):
    """Write a file of Keras 2: weights by name, by layer."""
    with h5py.File(path, "w", **options) as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in weights]
            for name, value in weights.items():
                group[name] = value
    return path


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.weights.h5", "weights.h5"),
        ("a.keras", "keras"),
        ("deflated.keras", "keras"),
        ("extended.keras", "keras"),
        ("weights.h5", "h5"),
        ("latest.h5", "h5"),
        ("full.h5", "h5"),
    ],
)
def test_every_array_comes_back(model, written, lister, name, kind, trusted):
    content = _read(written / name, lister, trusted)
    assert content.format == kind
    expected = {
        f"{layer.name}/{position}": value
        for layer in model.layers
        for position, value in enumerate(values(layer))
        if layer.name in LAYERS
    }
    if kind == "h5":  # else in the order of HDF5
        assert list(content.tensors) == list(expected)
    assert content.tensors.keys() == expected.keys()
    for key, value in expected.items():
        stored = content.tensors[key]
        assert (stored.shape, stored.dtype) == (value.shape, value.dtype)
        np.testing.assert_array_equal(stored.read(), value)


@pytest.mark.parametrize("name", ["a.weights.h5", "a.keras", "weights.h5", "full.h5"])
def test_arrays_are_mapped(written, lister, name):
    for stored in _read(written / name, lister).tensors.values():
        assert isinstance(stored.read(), np.memmap)


def test_headers_tell_the_model(model, written, lister):
    names = [layer.name for layer in model.layers]
    header = _read(written / "a.weights.h5", lister).header
    assert header["model"] == "tiny"
    assert sorted(header["names"]) == sorted(names)
    header = _read(written / "full.h5", lister).header
    assert list(header["names"]) == LAYERS
    assert header["names"]["conv1"] == ["conv1/kernel", "conv1/bias"]
    assert json.loads(header["model_config"])["config"]["name"] == "tiny"
    header = _read(written / "a.keras", lister).header
    assert header["names"] == names
    assert header["layers"]["conv1_bn"] == {
        "class": "BatchNormalization",
        "axis": -1,
        "epsilon": 1e-3,
        "scale": True,
        "renorm": False,
        "renorm_clipping": None,
        "renorm_momentum": 0.99,
    }


def test_bfloat16(tmp_path, lister):
    dense = keras.layers.Dense(2, dtype="bfloat16", name="d")
    model = keras.Sequential([keras.Input((3,)), dense])
    model.save_weights(tmp_path / "a.weights.h5")
    kernel = hdf5.read(tmp_path / "a.weights.h5", lister=lister).tensors["d/0"]
    assert kernel.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(kernel.read(), values(model)[0])


def test_models_inside_models(tmp_path, lister):
    inner = tiny(name="inner", top=False)
    model = keras.Sequential([keras.Input((8, 8, 3)), inner])
    model.save_weights(tmp_path / "a.weights.h5")
    model.save(tmp_path / "a.keras")
    for name in ("a.weights.h5", "a.keras"):
        tensors = _read(tmp_path / name, lister).tensors
        np.testing.assert_array_equal(tensors["conv1/0"].read(), values(inner)[0])
    header = _read(tmp_path / "a.keras", lister).header
    assert {"conv1", "conv2"} < set(header["names"])


def test_names_of_keras_1_and_order(tmp_path, lister):
    layers = {
        "zero": {},
        "res5a": {"block5/res5a_W:0": np.ones((2, 2)), "b": np.zeros(3)},
        "model/a": {"scope/kernel:0": np.ones(4), "ä": np.array(2.0)},
    }
    content = hdf5.read(_legacy(tmp_path / "a.h5", layers), lister=lister)
    assert list(content.tensors) == ["res5a/0", "res5a/1", "model/a/0", "model/a/1"]
    assert content.header["names"] == {
        "res5a": ["block5/res5a_W:0", "b"],
        "model/a": ["scope/kernel:0", "ä"],
    }
    assert content.tensors["model/a/1"].read() == 2


def test_lists_of_names_are_split_like_keras(tmp_path, lister):
    path = tmp_path / "a.h5"
    layers = [f"layer{number:03}_" + "x" * 200 for number in range(350)]
    with h5py.File(path, "w") as file:
        for layer in layers:
            file.create_group(layer).attrs["weight_names"] = np.array([b"w"])
            file[layer]["w"] = np.float32(len(layer))
        legacy_h5_format.save_attributes_to_hdf5_group(
            file, "layer_names", [layer.encode() for layer in layers]
        )
        assert "layer_names1" in file.attrs
    content = hdf5.read(path, lister=lister)
    assert [name.removesuffix("/0") for name in content.tensors] == layers


def test_arrays_that_cannot_be_mapped_are_decoded(tmp_path, lister):
    value = np.arange(120.0, dtype="f4").reshape(4, 5, 6)
    with h5py.File(_legacy(tmp_path / "a.h5", {}), "a") as file:
        group = file.create_group("a")
        group.create_dataset("gzip", data=value, chunks=(2, 3, 6), compression="gzip")
        group.create_dataset("growing", data=value, maxshape=(None, 5, 6))
        group.create_dataset("big", data=value, dtype=">f8")
        group.create_dataset("none", (3, 2), "f4", fillvalue=7)
        group.create_dataset("void", (0, 2), "f4")
        group.create_dataset("large", data=np.arange(5 << 20), chunks=(1 << 20,))
        group.create_dataset("flags", data=value > 9)
        shifted = h5py.h5t.STD_I32LE.copy()  # four bytes, yet not NumPy's
        shifted.set_precision(16)
        shifted.set_offset(8)
        space = h5py.h5s.create_simple((3,))
        h5py.h5d.create(group.id, b"shifted", shifted, space)
        group["shifted"][:] = 1, -2, 300
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        h5py.h5d.create(group.id, b"compact", h5py.h5t.STD_I16LE, space, compact)
        group["compact"][:] = 3, 1, 2
        expected = {name: group[name][()] for name in group}
        group.attrs["weight_names"] = list(expected)
        file.attrs["layer_names"] = ["a"]
    for trusted in (False, True):
        tensors = hdf5.read(tmp_path / "a.h5", trusted, lister).tensors
        for stored, (name, array) in zip(
            tensors.values(), expected.items(), strict=True
        ):
            assert (stored.shape, stored.dtype) == (array.shape, array.dtype), name
            np.testing.assert_array_equal(stored.read(), array, name)


def _external(group):
    group["0"] = h5py.ExternalLink("/etc/hostname", "/x")


def _soft(group):
    group["0"] = h5py.SoftLink("/layers/conv2d/vars/1")


def _foreign(group):
    group.create_dataset("0", (9,), "f4", external=[("elsewhere", 0, 36)])


def _virtual(group):
    layout = h5py.VirtualLayout((9,), "f4")
    layout[:] = h5py.VirtualSource("elsewhere", "x", (9,))
    group.create_virtual_dataset("0", layout)


def _bomb(group):
    group.create_dataset("0", (1 << 40,), "f4", chunks=(1 << 20,))


def _boundless(group):
    group.create_dataset("0", (0, 1 << 60), "f4")


def _packed(group):
    """Need memory for the packed and the unpacked chunk."""
    options = {"chunks": (15 << 20,), "compression": "gzip"}
    group.create_dataset("0", data=np.zeros(15 << 20, "f4"), **options)


def _twice(group):
    group["0"] = group["1"]


def _cycle(group):
    group.parent["layers"] = group.file["layers"]


def _text(group):
    group["0"] = "text"


def _pointers(group):
    group.create_dataset("0", (3,), h5py.ref_dtype)


def _empty(group):
    group["0"] = h5py.Empty("f4")


def _nameless(group):
    del group.attrs["name"]


def _numbered(group):
    group.attrs["name"] = 3


def _doubled(group):
    group.attrs["name"] = "conv1_bn"


def _long(group):
    group.attrs["name"] = "x" * (17 << 20)


def _misplaced(group):
    group.create_group("0")


def _undecodable(group):
    group.id.link(group["1"].name.encode(), b"\xff", h5py.h5g.LINK_HARD)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_external, "an HDF5 file with links to other places$"),
        (_soft, "an HDF5 file with links to other places$"),
        (_foreign, "an HDF5 file with data in other files$"),
        (_virtual, "an HDF5 file with data in other files$"),
        (_bomb, r"\d+ bytes that claim to unpack to 4398046\d+$"),
        (_boundless, r"\d+ bytes that claim to unpack to 4611686\d+$"),
        (_packed, r"(a damaged HDF5 file \(|an HDF5 file that takes more than 100 MB)"),
        (_twice, r"an HDF5 file with two links to what is at '/layers/conv2d/vars/1'"),
        (_cycle, r"an HDF5 file with two links to what is at '/layers"),
        (_text, "an HDF5 file whose '/layers/conv2d/vars/0' holds no numbers$"),
        (_pointers, "an HDF5 file whose '/layers/conv2d/vars/0' holds no numbers$"),
        (_empty, "an HDF5 file whose '/layers/conv2d/vars/0' is empty$"),
        (_nameless, "an HDF5 file of an early Keras 3, without the names"),
        (_numbered, "an HDF5 file whose attribute 'name' is no text$"),
        (_doubled, "an HDF5 file in which two layers share a name$"),
        (_long, "an HDF5 file with too many or too long names$"),
        (_misplaced, "an HDF5 file whose '/layers/conv2d/vars/0' is misplaced$"),
        (_undecodable, r"an HDF5 file with names that are no UTF-8$"),
    ],
)
def test_hostile_hdf5_is_refused(written, tmp_path, lister, change, message):
    path = tmp_path / "a.weights.h5"
    path.write_bytes((written / "a.weights.h5").read_bytes())
    with h5py.File(path, "a") as file:
        group = file["layers/conv2d/vars"]
        if change not in {_cycle, _nameless, _numbered, _doubled, _long, _undecodable}:
            del group["0"]
        change(group)
    _refused(path, lister, message)


def test_hostile_legacy_files_are_refused(tmp_path, lister):
    path = tmp_path / "a.h5"

    def changed(change, message):
        _legacy(path, {"a": {"w": np.ones(3)}, "b": {"w": np.ones(2)}})
        with h5py.File(path, "a") as file:
            change(file)
        _refused(path, lister, message)

    changed(lambda file: file.__delitem__("b"), "an HDF5 file without 'b' in '/'$")
    changed(lambda file: file["b"].__delitem__("w"), "an HDF5 file without 'w' in '/b'")
    changed(
        lambda file: file["a"].attrs.clear(),
        "an HDF5 file whose layer 'a' has no weight_names$",
    )
    changed(
        lambda file: file.attrs.update(layer_names=["a", "b", "a"]),
        "an HDF5 file with two links to what is at '/a'$",
    )
    changed(
        lambda file: file["a"].attrs.update(weight_names=["w", "w"]),
        "an HDF5 file with two links to what is at '/a/w'$",
    )
    changed(
        lambda file: file["a"].attrs.update(weight_names=["../b/w"]),
        r"an HDF5 file without '\.\./b/w' in '/a'$",
    )
    changed(
        lambda file: file["a"].attrs.update(weight_names=["w/x"]),
        "an HDF5 file without 'w/x' in '/a'$",
    )
    for name, value in (("other", 1), ("layer_name", "a")):
        with h5py.File(path, "w") as file:
            file.attrs[name] = value
        _refused(path, lister, "an HDF5 file without weights of Keras$")
    with h5py.File(path, "w") as file:
        file.create_group("model_weights")
    _refused(path, lister, "an HDF5 file whose model_weights has no layer_names$")


def test_memory_is_limited(tmp_path, lister):
    path = _legacy(tmp_path / "a.h5", {}, libver="latest")
    with h5py.File(path, "a", libver="latest") as file:
        file.attrs["layer_names"] = np.full(3 << 20, b"ab")  # 2 bytes, in Python 48
    _refused(path, lister, r"an HDF5 file that takes more than 124 MB to read$")


def test_truncated_files_are_refused(written, tmp_path, lister):
    whole = (written / "a.weights.h5").read_bytes()
    cut = tmp_path / "cut"
    for length in (0, 8, 100, *range(200, len(whole), len(whole) // 8)):
        cut.write_bytes(whole[:length])
        _refused(cut, lister, r"a damaged HDF5 file \(.*truncated|a damaged HDF5 file ")


def test_a_crash_of_the_library_is_an_error(tmp_path, lister):
    """Its B-tree's broken signature ends HDF5 1.14.6 with a segmentation fault."""
    path = _legacy(tmp_path / "a.h5", {"a": {}}, libver="latest")
    with h5py.File(path, "a", libver="latest") as file:
        shape = {"maxshape": (None, None), "chunks": (1, 2)}
        file["a"].create_dataset("w", data=np.ones((3, 4)), fletcher32=True, **shape)
        file["a"].attrs["weight_names"] = ["w"]
    assert hdf5.read(path, lister=lister).tensors["a/0"].read().sum() == 12
    path.write_bytes(path.read_bytes().replace(b"BTHD", b"BTHX"))
    _refused(path, lister, r"an HDF5 file that crashes .* \(signal 11\)$|a damaged")


def test_a_loop_of_the_library_is_an_error(written, tmp_path):
    """A text's length that leads to zeros keeps HDF5 1.14.6 busy for ever."""
    content = bytearray((written / "a.weights.h5").read_bytes())
    content[content.index(b"GCOL") + 24] = 255
    path = tmp_path / "a.weights.h5"
    path.write_bytes(content)
    with contextlib.closing(hdf5.Lister(seconds=0.5)) as lister:
        _refused(path, lister, r"an HDF5 file .* does not finish .* 0\.5 s$|a damaged")
        assert hdf5.read(written / "weights.h5", lister=lister).format == "h5"


@contextlib.contextmanager
def _stopped(seconds=60.0):
    """A lister whose child does nothing, as if the library were busy."""
    with contextlib.closing(hdf5.Lister(seconds)) as lister:
        lister._start()
        lister._process.send_signal(signal.SIGSTOP)
        yield lister


def _soon(action, *arguments):
    threading.Timer(0.2, action, arguments).start()


def test_the_child_is_ended_when_late(written):
    with _stopped(seconds=0.3) as lister:
        child, began = lister._process, time.monotonic()
        _refused(written / "a.keras", lister, r"an HDF5 .* does not finish .* 0\.3 s$")
        assert time.monotonic() - began < 5
        assert child.returncode == -signal.SIGKILL
        assert lister.close() is None
        assert _read(written / "a.keras", lister).format == "keras"


def test_crashes_are_told(written):
    with _stopped() as lister:
        _soon(lister._process.send_signal, signal.SIGSEGV)
        _soon(lister._process.send_signal, signal.SIGCONT)
        message = r"an HDF5 file that crashes the HDF5 library \(signal 11\)$"
        _refused(written / "weights.h5", lister, message)


def test_what_an_earlier_file_broke_is_read_again(written, lister):
    assert hdf5.read(written / "full.h5", lister=lister).format == "h5"
    child = lister._process
    child.send_signal(signal.SIGSTOP)
    _soon(child.kill)
    assert hdf5.read(written / "full.h5", lister=lister).format == "h5"
    assert child.returncode == -signal.SIGKILL


def test_ctrl_c_ends_the_child(written):
    with _stopped() as lister:
        child = lister._process
        _soon(signal.pthread_kill, threading.main_thread().ident, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            hdf5.read(written / "full.h5", lister=lister)
        assert child.returncode == -signal.SIGKILL


def test_the_child_goes_with_its_parent(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # which nobody ever writes: a busy library
    code = (
        "import os, sys, threading\n"
        "from pathlib import Path\n"
        "from convzoo.pretrained.readers import hdf5\n"
        "lister = hdf5.Lister(seconds=0.5)\n"
        "lister._start()\n"
        "print(lister._process.pid, flush=True)\n"
        "lister._exchange = lambda line, seconds: (\n"
        "    lister._process.stdin.write(line), lister._process.stdin.flush(),\n"
        "    os._exit(0))\n"
        "lister.listing(*map(Path, sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", code, str(pipe), str(tmp_path / "spill")]
    parent = subprocess.run(command, capture_output=True, check=True, timeout=60)
    child = int(parent.stdout)
    limit = threading.Event()
    for _ in range(100):  # its alarm rings after a second
        if not Path(f"/proc/{child}").exists() or _state(child) == "Z":
            return
        limit.wait(0.1)
    pytest.fail("the child outlives its parent")


def _state(process):
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def test_one_child_serves_many_files(written, lister):
    hdf5.read(written / "a.weights.h5", lister=lister)
    child = lister._process.pid
    for _ in range(30):
        hdf5.read(written / "weights.h5", lister=lister)
    assert lister._process.pid == child


def test_a_python_that_does_not_start_is_told(written, monkeypatch):
    for python in ("/bin/false", "/absent/python"):
        monkeypatch.setattr(sys, "executable", python)
        _refused(
            written / "weights.h5",
            None,
            f"an HDF5 file, which takes a second .* {python} does not start one$",
        )


@pytest.mark.parametrize("name", ["a.weights.h5", "latest.h5", "a.keras"])
def test_mutated_files_load_or_are_refused(written, tmp_path, name):
    whole = (written / name).read_bytes()
    path = tmp_path / name
    told = [at for at, byte in enumerate(whole) if byte]
    refused = 0
    with contextlib.closing(hdf5.Lister(seconds=0.5)) as lister:
        for seed in range(60):
            chance = random.Random(seed)
            content = bytearray(whole)
            for _ in range(chance.choice((1, 2, 8))):
                content[chance.choice(told)] = chance.randrange(256)
            path.write_bytes(content)
            try:
                for stored in _read(path, lister).tensors.values():
                    stored.read()
            except UnreadableError:
                refused += 1
    assert refused > 10


def _archive(path, members, mode=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", mode) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_hostile_archives_are_refused(written, tmp_path, lister):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(written / "a.keras") as archive:
        config = ("config.json", archive.read("config.json"))
        weights = ("model.weights.h5", archive.read("model.weights.h5"))

    def refused(message, *members, mode=zipfile.ZIP_STORED):
        _refused(_archive(path, members, mode), lister, message)

    absent = r"a zip archive without config\.json and model\.weights\.h5$"
    refused(absent)
    refused(absent, config)
    refused(absent, weights)
    with pytest.warns(UserWarning, match="Duplicate name"):
        refused(r"a zip archive with two members model\.w", config, weights, weights)
    refused(r"a zip .* packed by method 14 \(", config, weights, mode=zipfile.ZIP_LZMA)
    bomb = ("model.weights.h5", bytes(70_000_000))
    refused(
        r"\d+ bytes that claim to unpack to 70006\d+$",
        config,
        bomb,
        mode=zipfile.ZIP_DEFLATED,
    )
    refused(
        r"a zip archive whose config\.json has 5000000 bytes$",
        ("config.json", bytes(5_000_000)),
        weights,
    )
    for text in ("", "[]", "3", '{"config": {"layers": [3]}}', "[" * 200_000):
        refused(
            r"a zip archive with a damaged config\.json$",
            ("config.json", text),
            weights,
        )
    legacy = (written / "weights.h5").read_bytes()
    refused(
        r"a zip archive whose model\.weights\.h5 is of another Keras$",
        config,
        ("model.weights.h5", legacy),
    )
    refused("a damaged HDF5 file", config, ("model.weights.h5", weights[1][:900]))
    many = [(f"{number:0300}", b"") for number in range(4_000)]
    refused(r"a zip archive with a directory of \d{7} bytes$", config, weights, *many)


def test_damaged_archives_are_refused(written, tmp_path, lister):
    whole = (written / "a.keras").read_bytes()
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(written / "a.keras") as archive:
        first = archive.getinfo("model.weights.h5").header_offset
    central = whole.rindex(b"PK\x01\x02")
    for at, value, message in (
        (first + 5000, whole[first + 5000] ^ 1, "a damaged zip archive \\(Bad CRC"),
        (central + 8, whole[central + 8] | 1, "an encrypted zip archive$"),
        (central + 20, whole[central + 20] ^ 1, "a zip archive whose model"),
    ):
        content = bytearray(whole)
        content[at] = value
        path.write_bytes(content)
        _refused(path, lister, message)
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        _refused(path, lister, "a damaged zip archive")
