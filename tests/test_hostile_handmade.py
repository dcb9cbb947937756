"""Files made to do harm, one of each kind: refused, and the model keeps its weights."""

import contextlib
import json
import struct
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest
from caffe_files import BYTES, message, tag, varint
from hostile_files import FORMATS
from safetensors.numpy import save_file
from small_nets import refused, rewritten, saved, tiny, values
from test_reader_tensorflow import HEADER, block, entry, table
from torch_files import (
    ORDERED_DICT,
    REDUCE,
    dict_,
    integer,
    pickled,
    raw,
    save_zip,
    state_dict,
    storage,
    tensor,
    text,
    tuple_,
    write_legacy,
    write_zip,
)

from convzoo import lenet
from convzoo.pretrained import files
from convzoo.pretrained.readers import hdf5

MEGABYTE = 1 << 20
ROW = np.arange(1, 25, dtype=np.float32)
WEIGHT = storage("0", ROW.size)


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a command would leave its trace
    return tmp_path / "weights"


def harmless(model, path, words):
    """Assert that a file is refused at no cost and with nothing done."""
    before = sorted(path.parent.iterdir())
    tracemalloc.start()
    try:
        told = refused(model, path, words)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * path.stat().st_size + 100 * MEGABYTE
    assert str(path) in told
    assert told.isprintable()
    assert len(told) < 1500
    assert sorted(path.parent.iterdir()) == before


def command(module, name, words):
    return f"c{module}\n{name}\n(".encode() + text(words) + b"tR"


def view(offset, shape, stride):
    """Return a tensor of the 24 numbers, whose parts may be negative."""
    parts = [b"J" + struct.pack("<i", part) for part in (offset, *shape, *stride)]
    sides = tuple_(*parts[1 : 1 + len(shape)]), tuple_(*parts[1 + len(shape) :])
    arguments = tuple_(WEIGHT, parts[0], *sides, b"\x89", ORDERED_DICT)
    return dict_({"w": b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + REDUCE})


TOUCH, OPEN = "touch was-here", "open('was-here', 'w')"
PICKLES = {
    "os.system": (command("os", "system", TOUCH), "asks for os.system"),
    "posix": (command("posix", "system", TOUCH), "asks for posix.system"),
    "eval": (command("builtins", "eval", OPEN), "asks for builtins.eval"),
    "exec among weights": (
        dict_({"w": tensor(WEIGHT, 0, [24], [1])}) + command("builtins", "exec", OPEN),
        r"asks for builtins\.exec",
    ),
    "state": (b"cos\nsystem\n)\x81" + text(TOUCH) + b"b", "asks for os.system"),
    "stride": (view(0, (4, 2), (8, 1)), "element 25 of a storage of 24"),
    "offset": (view(24, (1,), (1,)), "element 24 of a storage of 24"),
    "negative offset": (view(-8, (4,), (1,)), "impossible form"),
    "negative stride": (view(23, (4,), (-9,)), "impossible form"),
    "strides of nought": (view(0, (2**28,), (0,)), "claim to be 1073741824 of"),
    "cyclic memo": (b"}q\0" + text("model") + b"h\0s", "without a state_dict"),
    "cyclic list": (b"]q\0h\0a", "a PyTorch file of a list"),
    "deep nesting": (b"]" * 20_000 + b"a" * 19_999, "a PyTorch file of a list"),
    "long": (b"N" * 500_000, "more than 500000 steps"),
    "long name": (dict_({"w" * MEGABYTE: tensor(WEIGHT, 0, [24], [1])}), "does not h"),
}


@pytest.mark.parametrize("name", PICKLES)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_pickles(model, path, name, legacy):
    value, words = PICKLES[name]
    if legacy:
        storages = {"0": (ROW.size, raw(ROW))} if WEIGHT in value else {}
        write_legacy(path, pickled(value), storages)
    else:
        write_zip(path, pickled(value), {"0": raw(ROW)})
    harmless(model, path, words)


def test_zip_bombs(model, path):
    save_zip(path, {"w": np.zeros(12 * MEGABYTE, np.float32)}, deflated=True)
    harmless(model, path, r"claims to unpack to 503\d{5} bytes")
    write_zip(path, bytes(20 * MEGABYTE), {}, deflated=True)
    harmless(model, path, r"data\.pkl of 20971520 bytes")
    for sizes in ((2, 70 * MEGABYTE), (5 * MEGABYTE, 9)):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            names = "config.json", "model.weights.h5"
            for name, size in zip(names, sizes, strict=True):
                archive.writestr(name, bytes(size))
        harmless(model, path, r"claim to unpack to 73400322|config\.json has 5242880")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (20_000, r"a zip archive without config\.json"),
        (21_000, "a zip archive with a directory of 1050000 bytes"),
    ],
)
def test_directories_of_zip_archives(model, path, number, words):
    """An entry of 50 bytes takes 400 in Python."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, *[0] * 8, 4, *[0] * 6)
    directory = b"".join(entry + b"%04x" % i for i in range(number))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, len(directory), 4, 0)
    path.write_bytes(b"PK\3\4" + directory + end)
    harmless(model, path, words)


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_links_out_of_hdf5(model, path, suffix):
    source = saved(model, path.with_suffix(suffix))
    weights = source
    if suffix == ".keras":
        with zipfile.ZipFile(source) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        weights = path.with_suffix(".h5")
        weights.write_bytes(members["model.weights.h5"])
    with h5py.File("elsewhere.h5", "w") as other, h5py.File(weights, "a") as file:
        other["x"] = values(model)[0]
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = h5py.ExternalLink("elsewhere.h5", "/x")
    if suffix == ".keras":
        members["model.weights.h5"] = weights.read_bytes()
        with zipfile.ZipFile(source, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    harmless(model, source, "an HDF5 file with links to other places")


def test_groups_without_end_in_hdf5(model, path):
    with h5py.File(path, "w") as file:
        group = file
        for _ in range(1000):
            group = group.create_group("layers/x")
    harmless(model, path, r"a damaged HDF5 file \(maximum recursion depth")


def test_one_process_reads_many_files_of_hdf5(model, path):
    children = set()
    with contextlib.closing(hdf5.Lister()) as lister:
        for suffix in (".weights.h5", ".keras"):
            source = saved(model, path.with_suffix(suffix))
            assert files.read(source, lister=lister).metadata == {"classes": 3}
            children.add(lister._process.pid)
    assert len(children) == 1


def safetensors_bytes(header, data=b"", length=None):
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", length or len(content)) + content + data


GOOD = block(HEADER, entry(b"a"))
LENGTHS = {
    "safetensors": safetensors_bytes(b"{}" * 50, length=1 << 60),
    "safetensors, all bits": b"\xff" * 8 + b"{}",
    "layer": tag(100, BYTES) + varint(1 << 60) + b"abc",
    "layer's name": message(100, tag(1, BYTES) + varint(1 << 60)),
    "blob": message(100, message(1, b"a"), tag(7, BYTES) + varint(9) + b"abc"),
    "field without end": b"\x0a" + b"\xff" * 99,
    "index": table(GOOD, place=varint(0) + varint(1 << 60)),
    "block of an index": table(GOOD, block((0, b"~", varint(1 << 60) + varint(8)))),
    "entry of an index": table(block(HEADER, (0, b"a", b"\x12" + varint(1 << 60)))),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_past_the_end(model, path, name):
    if "index" in name:
        path = path.with_suffix(".index")
    path.write_bytes(LENGTHS[name])
    harmless(model, path, r"found (a safetensors file of \d+ bytes with a|a damaged)")


def test_storages_past_the_end(model, path):
    data = state_dict({"w": ROW}, legacy=True).replace(integer(24), integer(1 << 39))
    write_legacy(path, data, {"0": (1 << 39, raw(ROW))})
    harmless(model, path, "past the end of the file")


@pytest.mark.parametrize(
    "content",
    [
        safetensors_bytes(b'{"w":' + b"[" * 100_000),
        safetensors_bytes({"__metadata__": {"convzoo": "[" * 100_000}}),
        b"\x0a\x01" + b"\x13" * 100_000,
    ],
    ids=["safetensors", "metadata", "groups of a protocol buffer"],
)
def test_deep_nesting(model, path, content):
    path.write_bytes(content)
    harmless(model, path, "found a damaged")


def test_deep_nesting_in_an_archive(model, path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", '{"config":' * 100_000)
        archive.writestr("model.weights.h5", b"")
    harmless(model, path, r"a damaged config\.json")


@pytest.mark.parametrize(
    "name",
    [
        *("safetensors", "torch zip", "torch legacy", "caffemodel"),
        *("TensorFlow checkpoint", "Keras 3 .weights.h5"),
    ],
)
def test_not_a_number(path, name):
    form = FORMATS[name].make(path.with_name("base"))
    path = path.with_name(f"changed{form.suffix}")
    number = values(form.model)[-1][-1].tobytes()
    part = next(part for part in form.parts if number in part.data)
    for changed in (np.float32("nan"), np.float32("-inf")):
        part.write(path, part.data.replace(number, changed.tobytes()))
        harmless(form.model, path, "must be finite in float32, found NaN or inf")


def test_numbers_that_overflow_on_their_way(path):
    """The map of GoogLeNet multiplies them."""
    form = FORMATS["caffemodel"].make(path)
    number = values(form.model)[0].ravel()[:1].tobytes()
    part = form.parts[0]
    part.write(path, part.data.replace(number, np.float32(3e38).tobytes()))
    harmless(form.model, path, "must be finite in float32, found NaN or inf")


STATEMENTS = {
    "builder": ("\n\x1b[2J", "os", ["lenet"], 3),
    "variant": ("\n\x1b[2J", "other", ["paper"], 3),
    "options": (
        *("alpha", [1], {"a": []}, {"\n": 1}),
        *({"depth": value} for value in (1 << 60, -1, 1e999, "x" * 99)),
    ),
    "classes": ("ten", 0, -1, 1 << 60, 1.5, True),
    "input_shape": ("abc", [1], [0, 0, 3], [8, 8, None]),
    "scaling": (3, [[1], [0]], [["a"], [1]], [[1e999], [1]], [[], []]),
}


@pytest.mark.parametrize("fact", STATEMENTS)
def test_statements_about_the_model(model, path, fact):
    source = saved(model, path.with_suffix(".safetensors"))
    words = f"a convzoo file whose {fact} no network of this convzoo has"
    for value in STATEMENTS[fact]:
        facts = {"builder": "lenet", "variant": "paper", fact: value}
        path = rewritten(source, lambda _: None, **facts)
        harmless(model, path, words)
        with pytest.raises(ValueError, match=words):
            lenet(weights=path)


def test_long_names_make_no_long_messages(model, path):
    long = "x" * MEGABYTE
    save_file({long: ROW}, path)
    harmless(model, path, r"found a safetensors file .* \.\.\. .* of shape \(24,\)")
    source = saved(model, path.with_suffix(".safetensors"))
    path = rewritten(source, lambda tensors: tensors.update({long: ROW}))
    harmless(model, path, r"the file holds 'xxx.* \.\.\. .*, which the model lacks")
