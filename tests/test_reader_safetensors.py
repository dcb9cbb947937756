"""The safetensors reader: against the library's own writer, and hostile headers."""

import json
import random
import re
import struct
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from convzoo.pretrained.readers import safetensors_file
from convzoo.pretrained.readers.content import UnreadableError

ROW = np.arange(6, dtype=np.float32)
ROW_BYTES = ROW.tobytes()
DTYPES = [*"bhilBHILefd?", ml_dtypes.bfloat16]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def values(path):
    tensors = safetensors_file.read(path).tensors
    return {name: each.read() for name, each in tensors.items()}


def write(path, header, data=ROW_BYTES, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", length or len(text)) + text + data)


def entry(begin=0, end=24, shape=(6,), dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def refused(path, words):
    with pytest.raises(UnreadableError, match=re.escape(words)) as refusal:
        safetensors_file.read(path)
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_reads_what_the_library_writes(path, dtype):
    arrays = {
        "matrix": np.array([[0, 1, 5], [2, 127, 1]]).astype(dtype),
        "scalar": np.array(1, dtype),
        "empty": np.zeros((0, 3), dtype),
    }
    save_file(arrays, path, metadata={"format": "pt"})
    content = safetensors_file.read(path)
    assert (content.format, content.header) == ("safetensors", {"format": "pt"})
    for name, array in values(path).items():
        np.testing.assert_array_equal(array, arrays.pop(name), strict=True)
    assert not arrays


def test_keeps_the_order_of_the_header_and_nan(path):
    write(path, {"b": entry(12, 24, [3]), "a": entry(0, 12, [3])})
    found = values(path)
    assert list(found) == ["b", "a"]
    np.testing.assert_array_equal(found["b"], ROW[3:])
    write(path, {"w": entry()}, np.full(6, np.nan, np.float32).tobytes())
    assert np.isnan(values(path)["w"]).all()


def test_maps_misaligned_arrays(path):
    for padding in range(8):
        write(path, json.dumps({"w": entry()}).encode() + b" " * padding)
        found = values(path)["w"]
        assert isinstance(found, np.memmap)
        np.testing.assert_array_equal(found, ROW)


def test_reads_the_metadata_alone(path):
    write(path, {"__metadata__": {"a": "b"}, "w": entry()}, data=b"")
    assert safetensors_file.metadata(path) == {"a": "b"}
    write(path, {"w": entry()})
    assert safetensors_file.metadata(path) == {}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"w": entry(dtype="F8_E4M3")}, "a tensor of dtype 'F8_E4M3'"),
        ({"w": entry(dtype="F32\x1b" * 500)}, r"dtype 'F32\x1b"),
        ({"w": entry(dtype=4)}, "header without form of 'w'"),
        ({"w": [1]}, "header without form of 'w'"),
        ({"w" * 999: {}}, "header without form of 'ww"),
        ({"w": {**entry(), "data_offsets": [0]}}, "header without form"),
        ({"w": {**entry(), "data_offsets": [0, 12, 24]}}, "header without form"),
        ({"w": entry(shape="6")}, "header without form"),
        ({"w": entry(shape=[6.0])}, "impossible form"),
        ({"w": entry(shape=[True] * 6)}, "impossible form"),
        ({"w": entry(shape=[-2, -3])}, "impossible form"),
        ({"w": entry(begin=-24, end=0)}, "impossible form"),
        ({"w": entry(shape=[1] * 33)}, "impossible form"),
        ({"w": entry(shape=[2**62, 4])}, "impossible form"),
        ({"w": entry(0, 0, [0, 2**62])}, "impossible form"),
        ({"w": entry(shape=[5])}, "24 bytes for 'w' of shape (5,) and float32"),
        ({"w": entry(24, 0)}, "-24 bytes for 'w'"),
        ({"w": entry(0, 2**32, [2**30])}, "past the end of the file"),
        ({"v": entry(0, 12, [3]), "w": entry(16, 24, [2])}, "holes or shared"),
        ({"v": entry(0, 12, [3]), "w": entry(8, 24, [4])}, "holes or shared"),
        ({"v": entry(), "w": entry()}, "holes or shared"),
        ({"w": entry(4, 24, [5])}, "holes or shared"),
        ({"w": entry(0, 20, [5])}, "24 bytes of arrays in place of 20"),
        ({}, "24 bytes of arrays in place of 0"),
        ({"__metadata__": {"a": 1}, "w": entry()}, "metadata are no texts"),
        ({"__metadata__": "a", "w": entry()}, "metadata are no texts"),
        (b'{"w":{},"w":{}}', "a key twice"),
        (b'{"__metadata__":{"a":"b","a":"c"}}', "a key twice"),
        (b"[]", "header that is no object"),
        (b"", "damaged safetensors header"),
        (b"{", "damaged safetensors header"),
        (b'{"w":' + b"9" * 5000 + b"}", "damaged safetensors header"),
        (b'{"\xff":1}', "damaged safetensors header"),
        ("{}".encode("utf-16"), "damaged safetensors header"),
        (b'{"w":' + b"[" * 100_000, "damaged safetensors header"),
        (b'{"w":' + b"[]," * 250_000, "header of more than 250000 parts"),
    ],
)
def test_refuses_broken_headers(path, header, words):
    write(path, header)
    refused(path, words)


@pytest.mark.parametrize("length", [65, 1 << 20, 1 << 60, (1 << 64) - 1])
def test_refuses_headers_longer_than_the_file(path, length):
    write(path, b"{}", bytes(62), length)
    refused(path, f"a safetensors file of 72 bytes with a header of {length}")


def test_refuses_files_shorter_than_a_length(path):
    path.write_bytes(b"\1\0\0\0{")
    refused(path, "a safetensors file of 5 bytes with a header of")


def test_huge_headers_take_no_memory(path):
    write(path, b'{"' + b"w" * (9 << 20) + b'":{}}')
    tracemalloc.start()
    refused(path, "with a header of 9437191")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_refuses_truncated_files(path):
    save_file({"a": ROW, "b": ROW.astype(np.float16)}, path)
    whole = path.read_bytes()
    for length in range(1, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableError):
            safetensors_file.read(path)


def test_mutated_files_are_refused_or_read(path):
    save_file({"a": ROW.reshape(2, 3), "b": ROW.astype(np.float16)}, path)
    whole, chance, read = path.read_bytes(), random.Random(0), 0
    for _ in range(250):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2])):
            data[chance.randrange(len(data))] = chance.choice(b'0129"{}[],:\0\xff')
        path.write_bytes(data)
        try:
            content = safetensors_file.read(path)
        except UnreadableError:
            continue
        for each in content.tensors.values():
            assert each.read().shape == each.shape
        read += 1
    assert 0 < read < 250


@pytest.mark.torch
def test_reads_what_torch_users_write(path):
    import torch  # noqa: PLC0415 (an extra)
    from safetensors.torch import save_file as save  # noqa: PLC0415

    tensors = {
        "w": torch.arange(6.0).reshape(2, 3),
        "b": torch.tensor([1.5, -2]).bfloat16(),
        "num_batches_tracked": torch.tensor(3),
    }
    save(tensors, path)
    found = values(path)
    for name, each in tensors.items():
        assert str(each.dtype) == f"torch.{found[name].dtype}"
        np.testing.assert_array_equal(found[name].astype(float), each.double().numpy())
