"""The PyTorch reader: tensors of every layout in both containers, hostile files."""

import pickle
import random
import re
import struct
import tarfile
import tracemalloc
import zipfile
from argparse import Namespace
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest
from torch_files import (
    MARK,
    ORDERED_DICT,
    PROTO,
    REDUCE,
    STORAGES,
    dict_,
    integer,
    integers,
    legacy_head,
    pickled,
    raw,
    save_legacy,
    save_zip,
    state_dict,
    storage,
    strides,
    tensor,
    text,
    tuple_,
    write_legacy,
    write_zip,
)

from convzoo.pretrained.readers import pickles, pytorch
from convzoo.pretrained.readers.content import UnreadableError

SAVE = {"zip": save_zip, "legacy": save_legacy}
ROW = np.arange(24, dtype=np.float32)
WEIGHT = storage("0", ROW.size)
WHOLE = tensor(WEIGHT, 0, [24], [1])
ROWS = {"w": ROW}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


@pytest.fixture(params=SAVE)
def save(request):
    return SAVE[request.param]


@pytest.fixture(params=SAVE)
def write(request, path):
    """Write a pickle around the storage "0", which holds ``ROW``; read it back."""

    def written(value):
        if request.param == "zip":
            write_zip(path, pickled(value), {"0": raw(ROW)})
        else:
            write_legacy(path, pickled(value), {"0": (ROW.size, raw(ROW))})
        return values(path)

    return written


def values(path):
    return {name: each.read() for name, each in pytorch.read(path).tensors.items()}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name, strict=True)


def refused(path, words):
    with pytest.raises(UnreadableError, match=re.escape(words)):
        values(path)


@pytest.mark.parametrize("dtype", STORAGES, ids=str)
def test_reads_every_dtype(path, save, dtype):
    numbers = np.array([[0, 1, 5], [2, 127, 1]])
    arrays = {
        "matrix": numbers.astype(dtype),
        "scalar": np.array(7, dtype),
        "empty": np.zeros((0, 3), dtype),
    }
    save(path, arrays)
    content = pytorch.read(path)
    assert content.format == "PyTorch"
    assert content.tensors["matrix"].nbytes == arrays["matrix"].nbytes
    assert_same(values(path), arrays)


def test_keeps_nan_and_infinity(path, save):
    save(path, {"w": np.array([np.nan, -np.inf], np.float32)})
    assert_same(values(path), {"w": np.array([np.nan, -np.inf], np.float32)})


def test_maps_views_without_a_copy(write):
    found = write(
        dict_({"whole": WHOLE, "late": tensor(WEIGHT, 6, [2, 3, 2], [6, 2, 1])})
    )
    assert_same(found, {"whole": ROW, "late": ROW[6:18].reshape(2, 3, 2)})
    assert all(type(array) is np.memmap for array in found.values())
    assert not any(array.flags.writeable for array in found.values())


def test_reads_strided_views(write):
    views = {
        "transposed": ((4, 6), (1, 4), ROW.reshape(6, 4).T),
        "channels_last": (
            (2, 3, 2, 2),
            (12, 1, 6, 3),
            ROW.reshape(2, 2, 2, 3).transpose(0, 3, 1, 2),
        ),
        "expanded": ((5, 3), (0, 1), np.tile(ROW[:3], (5, 1))),
        "long_stride_of_one": ((1, 2), (10**9, 1), ROW[None, :2]),
    }
    found = write(
        dict_({name: tensor(WEIGHT, 0, *form[:2]) for name, form in views.items()})
    )
    assert_same(found, {name: form[2] for name, form in views.items()})


def test_reads_pickles_of_python_2_and_2017(write):
    def string(word):
        return b"U" + bytes([len(word)]) + word.encode()

    parts = (
        b"Q".join((WEIGHT[:-1], b"")),
        integer(2),
        integers([2, 2]),
        integers([2, 1]),
    )
    old = b"ctorch._utils\n_rebuild_tensor\n" + tuple_(*parts) + REDUCE
    pairs = b"](" + b"".join(
        b"](" + string(name) + value + b"e"
        for name, value in [("b", old), ("a", WHOLE)]
    )
    found = write(b"ccollections\nOrderedDict\n(" + pairs + b"etR")
    assert_same(found, {"b": ROW[2:6].reshape(2, 2), "a": ROW})


def test_passes_over_what_surrounds_the_weights(write):
    state = b"}" + text("_metadata") + ORDERED_DICT + b"sb"
    weights = dict_({"module._orig_mod.w": WHOLE, "note": text("x"), "n": integer(3)})
    slots = b"}(" + integer(0) + dict_({"exp_avg": WHOLE}) + b"u"
    namespace = b"cargparse\nNamespace\n)\x81}" + text("lr") + b"G" + b"?" * 8 + b"sb"
    found = write(
        dict_(
            {
                "epoch": integer(90),
                "args": namespace,
                "model_ema": dict_({"w": tensor(WEIGHT, 0, [1], [1])}),
                "optimizer": dict_({"state": slots, "lr": b"N"}, start=b"}"),
                "model": weights + state,
                "device": b"ctorch\ndevice\n(" + text("cuda") + b"tR",
                "size": b"ctorch\nSize\n(" + integers([3]) + b"tR",
            },
            start=b"}",
        )
    )
    assert_same(found, {"w": ROW})


def test_passes_over_scalars_of_numpy(write):
    for kind in (np.float64, np.float32, np.bool_, np.int64):
        best = pickle.dumps(kind(1), 2)[2:-1]
        for name in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
            older = re.sub(rb"numpy\._?core\.multiarray", name, best)
            assert_same(
                write(dict_({"best": older, "model": dict_({"w": WHOLE})})), ROWS
            )


@pytest.mark.parametrize("key", ["model_state", "weights", "ema"])
def test_finds_the_weights_behind_empty_wrappers(write, key):
    wrapped = {"state_dict": ORDERED_DICT, "model": b"}", key: dict_({"w": WHOLE})}
    assert_same(write(dict_(wrapped)), ROWS)


def test_plain_weights_come_before_their_average(write):
    average = dict_({"v": WHOLE})
    for key in ("model_state", "weights"):
        assert_same(write(dict_({"ema": average, key: dict_({"w": WHOLE})})), ROWS)


def test_cuts_what_wrappers_of_the_network_add(write):
    other = tensor(WEIGHT, 0, [1], [1])
    averaged = {"n_averaged": other, "module.w": WHOLE}
    assert_same(write(dict_(averaged)), ROWS)
    assert_same(write(dict_({"model._orig_mod.w": WHOLE})), ROWS)
    found = write(dict_({"model.w": WHOLE, "head.w": other}))
    assert list(found) == ["model.w", "head.w"]  # no prefix of all


def test_reads_parameters(write):
    parts = WHOLE, b"\x88", ORDERED_DICT
    parameter = b"ctorch._utils\n_rebuild_parameter\n" + tuple_(*parts) + REDUCE
    assert_same(write(dict_({"w": parameter})), {"w": ROW})


def test_reads_deflated_archives(path):
    arrays = {"w": ROW.reshape(4, 6), "b": ROW[:3].astype(ml_dtypes.bfloat16)}
    save_zip(path, arrays, deflated=True)
    assert_same(values(path), arrays)
    assert not isinstance(values(path)["w"], np.memmap)


def test_accepts_the_members_of_newer_archives(path):
    extra = {"byteorder": b"little", ".format_version": b"1"}
    save_zip(path, {"w": ROW}, extra=extra, root="resnet50")
    assert_same(values(path), {"w": ROW})


def test_refuses_to_guess_names(write):
    with pytest.raises(UnreadableError, match="two tensors called w"):
        write(dict_({"w": WHOLE, "module.w": WHOLE}))
    with pytest.raises(UnreadableError, match="a tensor with a int for a name"):
        write(b"}(" + integer(0) + WHOLE + b"u")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (WHOLE, "a PyTorch file of a Tensor"),
        (b"]", "a PyTorch file of a list"),
        (b"}", "a PyTorch file without a state_dict"),
        (dict_({"model": ORDERED_DICT}), "without a state_dict among model"),
        (
            dict_(dict.fromkeys("abcdef", b"N")),
            "without a state_dict among a, b, c, d, e, ...",
        ),
        (
            b"}(" + integer(3) + b"N" + text("\x1b" + 99 * "x") + b"Nu",
            rf"without a state_dict among 3, \x1b{79 * 'x'}",
        ),
    ],
)
def test_refuses_files_without_a_state_dict(path, value, words):
    write_zip(path, pickled(value), {"0": raw(ROW)})
    refused(path, words)


COMMAND = text("touch convzoo-was-here")
TENSOR_V2 = b"ctorch._utils\n_rebuild_tensor_v2\n"

HOSTILE = {
    "reduce": (b"cos\nsystem\n(" + COMMAND + b"tR", "asks for os.system"),
    "py2": (b"cposix\nsystem\n(" + COMMAND + b"tR", "asks for posix.system"),
    "build": (b"cbuiltins\nobject\n)\x81}b", "asks for builtins.object"),
    "newobj": (b"csubprocess\nPopen\n(" + COMMAND + b"t\x81", "subprocess.Popen"),
    "newobj_ex": (b"}}}\x92", "opcode NEWOBJ_EX"),
    "stack_global": (text("os") + text("system") + b"\x93", "opcode STACK_GLOBAL"),
    "inst": (MARK + COMMAND + b"ios\nsystem\n", "opcode INST"),
    "obj": (MARK + b"cos\nsystem\n" + COMMAND + b"o", "asks for os.system"),
    "ext1": (b"\x82\x01", "opcode EXT1"),
    "ext2": (b"\x83\x01\x00", "opcode EXT2"),
    "ext4": (b"\x84\x01\x00\x00\x00", "opcode EXT4"),
    "escape": (b"cos\nsy\\x73tem\n", "damaged pickle"),
    "terminal": (b"c\x1b[2J\n\x07\n", r"asks for \x1b[2J.\x07"),
    "long name": (b"cos\n" + b"x" * 9999 + b"\n", "x (save the state_dict alone)"),
    "module": (
        b"ctorch.nn.modules.conv\nConv2d\n)\x81",
        "torch.nn.modules.conv.Conv2d",
    ),
    "module id": (tuple_(text("module"), *b"NNNN".split()) + b"Q", "persistent id"),
    "storage class": (b"ctorch\nFloatStorage\n)R", "calls torch.FloatStorage"),
    "call of a value": (text("os.system") + b")R", "calls a value"),
    "arguments in a list": (b"ccollections\nOrderedDict\n]R", "calls collections"),
    "protocol 4": (pickle.dumps({"w": 1}, 4), "protocol 4"),
    "protocol 255": (b"\x80\xff}", "protocol 255"),
    "frame": (b"\x95" + b"\xff" * 8, "opcode FRAME"),
    "long4": (b"\x8b" + struct.pack("<i", 300) + b"\1" * 300, "opcode LONG4"),
    "lying long4": (b"\x8b\xff\xff\xff\x7f", "damaged pickle"),
    "lying text": (b"X\xff\xff\xff\xff", "damaged pickle"),
    "unknown opcode": (b"\xff", "damaged pickle"),
    "items of a list": (b"](" + text("w") + b"Nu", "sets items of a list"),
    "items of a tensor": (WHOLE + b"(" + text("w") + b"Nu", "items of a Tensor"),
    "odd items": (b"}(" + text("w") + b"u", "damaged pickle"),
    "appends to a dict": (b"}Na", "appends to a dict"),
    "appends to a tuple": (b")(Ne", "appends to a tuple"),
    "state of a list": (b"]}b", "state of a list"),
    "state of a tensor": (WHOLE + b"}b", "state of a Tensor"),
    "pairs of three": (b"ccollections\nOrderedDict\n(](](NNNeetR", "than pairs"),
    "pairs of text": (b"ccollections\nOrderedDict\n(](" + text("ab") + b"etR", "pairs"),
    "list for a key": (b"}(]Nu", "a dict with a list for a key"),
    "tensor for a key": (b"}(" + WHOLE + b"Nu", "a dict with a Tensor for a key"),
    "huge key": (b"}(" + integer(2**61 - 1) + b"Nu", "a dict with a int for a key"),
    "empty stack": (b"R", "damaged pickle"),
    "short stack": (b"N\x87", "damaged pickle"),
    "no mark": (b"t", "damaged pickle"),
    "no memo": (b"h\x05", "damaged pickle"),
    "no value": (b"", "damaged pickle"),
    "foreign dtype": (storage("0", 24, "ComplexFloatStorage"), "ComplexFloatStorage"),
    "no dtype": (storage("0", 24, "Size"), "persistent id"),
    "short id": (tuple_(text("storage")) + b"Q", "persistent id"),
    "id of a text": (text("0") + b"Q", "persistent id"),
    "view of a storage": (storage("0", 24)[:-2] + b"}tQ", "persistent id"),
    "two of one key": (WEIGHT + storage("0", 23), "two storages with the key 0"),
    "negative length": (storage("0", 2**64 - 1), "persistent id"),
    "tensor of a text": (tensor(text("0"), 0, [1], [1]), "impossible form"),
    "shape of floats": (TENSOR_V2 + b"(NNNNNNtR", "impossible form"),
    "missing arguments": (TENSOR_V2 + b"(NNtR", "damaged pickle"),
    "ranks": (tensor(WEIGHT, 0, [2, 2], [1]), "impossible form"),
    "rank 33": (tensor(WEIGHT, 0, [1] * 33, [1] * 33), "impossible form"),
    "past the end": (tensor(WEIGHT, 0, [25], [1]), "element 24 of a storage of 24"),
    "offset": (tensor(WEIGHT, 24, [1], [1]), "element 24 of a storage of 24"),
    "stride": (tensor(WEIGHT, 0, [4, 2], [8, 1]), "element 25 of a storage of 24"),
    "overflow": (tensor(WEIGHT, 0, [2**33] * 2, [0, 0]), "impossible form"),
    "empty and huge": (tensor(WEIGHT, 0, [0, 2**62], [1, 1]), "impossible form"),
    "huge integer": (tensor(WEIGHT, 2**2000, [1], [1]), "impossible form"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses_hostile_pickles(name, tmp_path, monkeypatch):
    value, words = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    whole = value + b"." if value.startswith(b"\x80") else pickled(value)
    with pytest.raises(UnreadableError, match=re.escape(words)) as refusal:
        pickles.load(pickles.Source(whole))
    assert len(str(refusal.value)) < 200
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("offset", [-1, -(2**40)])
def test_refuses_negative_offsets_and_strides(offset):
    negative = b"J" + struct.pack("<i", max(offset, -(2**31)))
    for place, stride in ((negative, integer(1)), (integer(4), negative)):
        parts = WEIGHT, place, integers([2]), tuple_(stride), b"\x89", ORDERED_DICT
        with pytest.raises(UnreadableError, match="impossible form"):
            pickles.load(pickles.Source(pickled(TENSOR_V2 + tuple_(*parts) + REDUCE)))


def test_refuses_tensors_that_are_meant_negated():
    meta = dict_({"neg": b"\x88"}, start=b"}")
    parts = (
        WEIGHT,
        integer(0),
        integers([1]),
        integers([1]),
        b"\x89",
        ORDERED_DICT,
        meta,
    )
    with pytest.raises(UnreadableError, match="metadata"):
        pickles.load(pickles.Source(pickled(TENSOR_V2 + tuple_(*parts) + REDUCE)))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"N" * 500_000, "a pickle of more than 500000 steps"),
        # One list of pairs, made a dict again and again.
        (
            b"](" + b"](NNe" * 50_000 + b"e" + b"q\0" + ORDERED_DICT
            + b"ccollections\nOrderedDict\n(h\0tR" * 50_000,
            "a pickle of more than 500000 steps",
        ),
        # (((), ()), ((), ())) and so on takes 2 ** 5000 steps to hash.
        (b"}(" + b")" + b"q\0h\0\x86" * 5_000 + b"Nu", "a tuple for a key"),
    ],
)  # fmt: skip
def test_refuses_endless_work(value, words):
    with pytest.raises(UnreadableError, match=re.escape(words)):
        pickles.load(pickles.Source(pickled(value)))


@pytest.mark.parametrize(
    "odd",
    [
        b"]" * 100_000 + b"a" * 99_999,
        b")" + b"\x85" * 100_000,
        b"}" + (text("") + b"}") * 100_000 + b"s" * 100_000,
        b"]q\0h\0a",
        b"}q\0" + text("me") + b"h\0s",
    ],
    ids=["lists", "tuples", "dicts", "cyclic list", "cyclic dict"],
)
def test_odd_values_beside_the_weights_do_no_harm(write, odd):
    assert_same(write(dict_({"w": WHOLE, "odd": odd})), {"w": ROW})


def test_a_wrapper_around_itself_ends(path):
    write_zip(path, pickled(b"}q\0" + text("model") + b"h\0s"), {})
    refused(path, "without a state_dict")


def test_refuses_tiny_files_that_claim_much(path):
    huge = tensor(WEIGHT, 0, [2**26], [0])
    write_zip(path, pickled(dict_({"w": huge})), {"0": raw(ROW)})
    refused(path, "bytes that claim to be 268435456 of tensors")


def rewritten(path, change):
    """Let ``change`` rewrite the members of a good archive."""
    save_zip(path, {"w": ROW})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


DATA, ROW_MEMBER = "archive/data.pkl", "archive/data/0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.pop(DATA), "a zip archive without PyTorch's data.pkl"),
        (lambda m: m.update({"b/data.pkl": b""}), "without PyTorch's data.pkl"),
        (lambda m: m.update({"archive/constants.pkl": b""}), "a TorchScript archive"),
        (lambda m: m.update({"archive/byteorder": b"big"}), "another byte order"),
        (lambda m: m.update({"archive/byteorder": b"l" * 99}), "byteorder of 99 bytes"),
        (lambda m: m.pop(ROW_MEMBER), "a PyTorch file without storage 0"),
        (lambda m: m.update({ROW_MEMBER: b"short"}), "5 bytes in place of 96"),
        (lambda m: m.update({ROW_MEMBER: bytes(97)}), "97 bytes in place of 96"),
        (lambda m: m.update({DATA: bytes(9 << 20)}), "data.pkl of 9437184 bytes"),
        (lambda m: m.update({DATA: b"\x80\x02}"}), "damaged pickle"),
        (
            lambda m: m.update({f"archive/{n:0500}": b"" for n in range(9000)}),
            "directory",
        ),
    ],
)
def test_refuses_other_archives(path, change, words):
    rewritten(path, change)
    refused(path, words)


def test_refuses_members_twice(path):
    save_zip(path, {"w": ROW})
    with (
        zipfile.ZipFile(path, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr(ROW_MEMBER, bytes(96))
    refused(path, "members twice")


def test_refuses_unusual_compression(path):
    save_zip(path, {"w": ROW})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("archive/data/1", bytes(96))
    refused(path, "an unusual compression")


def test_refuses_zip_bombs_without_unpacking_them(path):
    save_zip(path, {"w": np.zeros(25 << 20, np.float32)}, deflated=True)
    tracemalloc.start()
    refused(path, "claims to unpack to 1048")
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def patched(path, at, new):
    data = bytearray(path.read_bytes())
    data[at : at + len(new)] = new
    path.write_bytes(data)


def directory_entry(path, member):
    return path.read_bytes().rindex(member.encode()) - 46


@pytest.mark.parametrize(
    ("at", "new", "words"),
    [
        (8, b"\x01\x00", "damaged zip archive"),  # encrypted
        (20, struct.pack("<I", 95), "members of two sizes"),
        (24, struct.pack("<I", 95), "members of two sizes"),
        (42, struct.pack("<I", 0), "members twice or overlapping"),
        (42, struct.pack("<I", 1 << 31), "damaged zip archive"),
    ],
)
def test_refuses_directories_that_lie(path, at, new, words):
    save_zip(path, {"w": ROW})
    patched(path, directory_entry(path, ROW_MEMBER) + at, new)
    refused(path, words)


def test_refuses_overlapping_members(path):
    save_zip(path, {"a": ROW, "b": ROW})
    # The name of data/1 with the place of data/0 fails; sizes may reach into it too.
    entry = directory_entry(path, ROW_MEMBER)
    patched(path, entry + 20, struct.pack("<II", 900, 900))
    refused(path, "overlap")


def test_checks_what_is_compressed(path):
    save_zip(path, {"w": ROW}, deflated=True)
    patched(path, directory_entry(path, ROW_MEMBER) + 16, b"\0\0\0\0")  # the CRC
    content = pytorch.read(path)
    with pytest.raises(UnreadableError, match=r"damaged zip archive .Bad CRC-32"):
        content.tensors["w"].read()


@pytest.mark.parametrize(
    ("head", "keys", "length", "words"),
    [
        (legacy_head(little_endian=False), ["0"], 24, "another version or byte order"),
        (legacy_head().replace(b"M\xe9\x03.", b"M\xea\x03.", 1), ["0"], 24, "version"),
        (None, ["1"], 24, "do not add up"),
        (None, [], 24, "without some of its storages"),
        (None, ["0"], 23, "a storage that is not 24 long"),
        (None, ["0"], -1, "a storage that is not 24 long"),
        (None, ["0"], 1 << 60, "a storage that is not 24 long"),
    ],
)
def test_refuses_streams_that_do_not_add_up(path, head, keys, length, words):
    storages = {key: (length, raw(ROW)) for key in keys}
    write_legacy(path, state_dict({"w": ROW}, legacy=True), storages, head)
    refused(path, words)


def test_refuses_nested_tuples_in_the_list_of_storages(path):
    nested = pickled(b")" + b"q\0h\0\x86" * 5_000 + b"\x85")
    data = state_dict({"w": ROW}, legacy=True)
    for keys in (nested, pickled(b"](" + nested[2:-1] + b"e")):
        path.write_bytes(legacy_head() + data + keys)
        refused(path, "a PyTorch stream")


def test_refuses_huge_storages(path):
    data = state_dict({"w": ROW}, legacy=True).replace(integer(24), integer(2**39))
    write_legacy(path, data, {"0": (2**39, raw(ROW))})
    refused(path, "past the end of the file")


@pytest.mark.parametrize("save_", SAVE.values(), ids=SAVE)
def test_refuses_truncated_files(path, save_):
    save_(path, {"w": ROW, "b": np.array(3)})
    whole = path.read_bytes()
    for length in range(4, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableError):
            pytorch.read(path)


def test_refuses_tar_and_other_files(path):
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("sys_info"))
    refused(path, "a tar archive, as PyTorch wrote until 2016")
    path.write_bytes(pickle.dumps({"w": 1}, 2))
    refused(path, "a file that torch.save did not write")


def test_knows_a_stream_by_its_start(path):
    save_legacy(path, {"w": ROW})
    assert pytorch.is_legacy(path.read_bytes()[:16])
    assert not pytorch.is_legacy(PROTO + b"}.")


@pytest.mark.parametrize(
    "deflated", [False, True, None], ids=["zip", "deflated", "legacy"]
)
def test_mutated_files_are_refused_or_read(path, deflated):
    arrays = {"w": ROW.reshape(4, 6), "b": np.zeros(3, np.float16)}
    if deflated is None:
        save_legacy(path, arrays)
    else:
        save_zip(path, arrays, deflated=deflated)
    whole, chance, read = path.read_bytes(), random.Random(0), 0
    for _ in range(250):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 8])):
            data[chance.randrange(len(data))] = chance.choice(
                [0, 255, chance.randrange(256)]
            )
        path.write_bytes(data)
        try:
            content = pytorch.read(path)
            for each in content.tensors.values():
                assert each.read().shape == each.shape
        except UnreadableError:
            continue
        read += 1
    assert 0 < read < 250


def torch_objects(torch):
    base = torch.arange(48.0).reshape(2, 3, 4, 2)
    every = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32]
    every += [torch.int16, torch.int8, torch.uint8, torch.bool]
    layer = torch.nn.Conv2d(3, 2, 3)
    body = torch.nn.Sequential(layer, torch.nn.BatchNorm2d(2))
    optimizer = torch.optim.AdamW(body.parameters())
    body(torch.ones(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    return {
        "views": {
            "slice": base[1:, 1],
            "transposed": base.reshape(6, 8).t(),
            "channels_last": base.contiguous(memory_format=torch.channels_last),
            "expanded": base[0, 0, :1].expand(5, 2),
            "scalar": torch.tensor(3.5),
            "empty": torch.zeros(0, 4),
        },
        "dtypes": {str(each): torch.tensor([0, 1, 1]).to(each) for each in every},
        "parameters": {"w": torch.nn.Parameter(base), "tied": torch.nn.Parameter(base)},
        "module": body.state_dict(),
        "parallel": torch.nn.DataParallel(body).state_dict(),
        "training": {
            "epoch": 3,
            "args": Namespace(lr=0.1, names=["a"], size=torch.Size([3])),
            "state_dict": body.state_dict(),
            "state_dict_ema": OrderedDict(other=base),
            "optimizer": optimizer.state_dict(),
        },
    }


@pytest.mark.torch
@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_reads_what_torch_writes(path, new):
    import torch  # noqa: PLC0415 (an extra)

    for name, value in torch_objects(torch).items():
        torch.save(value, path, _use_new_zipfile_serialization=new)
        with torch.serialization.safe_globals([Namespace]):
            loaded = torch.load(path, weights_only=True)
        expected = {
            key.removeprefix("module."): each.detach()
            for key, each in loaded.get("state_dict", loaded).items()
        }
        found = values(path)
        assert list(found) == list(expected), name
        for key, each in expected.items():
            assert str(each.dtype) == f"torch.{found[key].dtype}"
            wide = (
                each.double().numpy() if each.dtype == torch.bfloat16 else each.numpy()
            )
            np.testing.assert_array_equal(
                found[key].astype(wide.dtype), wide, strict=True
            )


@pytest.mark.torch
def test_refuses_what_torch_writes_of_modules(path):
    import torch  # noqa: PLC0415 (an extra)

    module = torch.nn.Conv2d(3, 2, 3)
    for new in (True, False):
        torch.save(module, path, _use_new_zipfile_serialization=new)
        refused(
            path, "asks for torch.nn.modules.conv.Conv2d (save the state_dict alone)"
        )
    torch.save({"w": torch.ones(2)}, path, pickle_protocol=4)
    refused(path, "a pickle of protocol 4")
    torch.save({"w": torch.ones(2).to(torch.complex64)}, path)
    refused(path, "asks for torch.ComplexFloatStorage")


@pytest.mark.torch
def test_torch_reads_what_the_tests_write(path, save):
    import torch  # noqa: PLC0415 (an extra)

    arrays = {
        "w": ROW.reshape(2, 3, 4),
        "scalar": np.array(5),
        "empty": np.zeros((0, 2), np.float16),
        **{f"{dtype}": np.array([[0], [1]]).astype(dtype) for dtype in STORAGES},
    }
    save(path, arrays)
    loaded = torch.load(path, weights_only=True)
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert list(loaded[name].stride()) == strides(array.shape)
        assert str(loaded[name].dtype) == f"torch.{array.dtype}"
        np.testing.assert_array_equal(
            loaded[name].double().numpy(), array.astype(float)
        )
