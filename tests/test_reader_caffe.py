"""Caffe's networks: every way to write them reads equal; the rest is refused."""

import tracemalloc

import numpy as np
import pytest
from caffe_files import BYTES, FIXED32, message, number, save_caffemodel, tag, varint

from convzoo.pretrained.readers import caffe, protobuf
from convzoo.pretrained.readers.content import UnreadableError

ONE = np.float32(1).tobytes()


def some_layers(dtype="f4"):
    def draw(*shape):
        return rng.normal(size=shape).astype(dtype)

    rng = np.random.default_rng(3)
    return {
        "inception_3a/1x1": [draw(4, 3, 1, 2), draw(4)],
        "bn": [draw(4), draw(4), draw(2, 1)],
        "loss3/classifier": [draw(5, 4), draw(5)],
    }


def layer(*blobs, name=b"conv", field=100):
    return message(field, message(1, name), *(message(7, blob) for blob in blobs))


def blob(*sides, values=1):
    return message(7, message(1, *map(varint, sides))) + message(5, ONE * values)


def read(tmp_path, *parts):
    path = tmp_path / "a.caffemodel"
    path.write_bytes(b"".join(parts))
    return caffe.read(path)


@pytest.mark.parametrize("v1", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_form_reads_equal_in_the_order_of_the_file(tmp_path, v1, packed, dtype):
    layers = some_layers(dtype)
    path = save_caffemodel(tmp_path / "a", layers, v1, packed)
    content = caffe.read(path)
    assert content.format == "caffemodel"
    expected = {f"{name}/{i}": a for name in layers for i, a in enumerate(layers[name])}
    assert list(content.tensors) == list(expected)
    for name, tensor in content.tensors.items():
        array = tensor.read()
        assert (tensor.shape, tensor.dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(array, expected[name], strict=True)
        assert isinstance(array, np.memmap) is packed


def test_shapes_of_old_files_keep_their_four_axes(tmp_path):
    path = save_caffemodel(tmp_path / "a", some_layers(), v1=True, legacy_shape=True)
    tensors = caffe.read(path).tensors
    assert tensors["inception_3a/1x1/0"].shape == (4, 3, 1, 2)
    assert tensors["loss3/classifier/0"].shape == (1, 1, 5, 4)
    assert tensors["loss3/classifier/1"].shape == (1, 1, 1, 5)
    np.testing.assert_array_equal(
        tensors["loss3/classifier/0"].read()[0, 0], some_layers()["loss3/classifier"][0]
    )


def test_unknown_fields_and_layers_without_blobs_are_passed_over(tmp_path):
    other = number(5, 1) + message(8, b"any") + tag(9, FIXED32) + ONE
    diff = message(6, ONE * 9)
    sides = number(1, 2) + number(1, 3)  # not packed
    content = read(
        tmp_path,
        other,
        layer(name=b"relu"),
        message(100, message(7, diff + blob(2, 3, values=6)), other, message(1, b"c")),
        message(
            100,
            message(1, b"d"),
            # Values in two parts, and a shape in fields of its own.
            message(7, message(5, ONE * 4), message(7, sides), message(5, ONE * 2)),
        ),
        layer(name=b"relu"),
    )
    assert list(content.tensors) == ["c/0", "d/0"]
    for tensor in content.tensors.values():
        np.testing.assert_array_equal(tensor.read(), np.ones((2, 3), "f4"), strict=True)


def test_values_in_any_mixture_of_fields_read_in_order(tmp_path):
    values = np.arange(300, dtype="f4")
    left, parts = values, []
    for size in (1, 0, 2, 3, 4, 90, 1, 1, 198):
        now, left = np.split(left, [size])
        packed = message(5, now.tobytes())
        single = b"".join(tag(5, FIXED32) + one.tobytes() for one in now)
        other = tag(6, FIXED32) + ONE  # of the gradient
        parts.append((packed if size in (0, 3) else single) + other * (size % 3))
    shape = message(7, message(1, varint(300)))
    end = message(5)
    found = read(tmp_path, layer(b"".join([*parts, shape, end]))).tensors["conv/0"]
    np.testing.assert_array_equal(found.read(), values, strict=True)


def test_doubles_go_before_floats_as_in_caffe(tmp_path):
    both = blob(1) + message(8, np.float64(3).tobytes())
    assert read(tmp_path, layer(both)).tensors["conv/0"].read() == np.float64(3)


def test_a_large_file_is_not_copied(tmp_path):
    path = save_caffemodel(tmp_path / "a", {"fc": [np.ones((1024, 4096), "f4")]})
    tracemalloc.start()
    try:
        array = caffe.read(path).tensors["fc/0"].read()
        assert array[-1, -1] == 1
        assert tracemalloc.get_traced_memory()[1] < array.nbytes / 10
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ([], "an empty file"),
        ([message(1, b"net")], "no Caffe model"),
        ([layer(name=b"relu")], "no Caffe model"),
        ([b"\n# A readme of a few words\n"], "protocol buffer|no Caffe"),
        ([layer(blob(1)), layer(blob(1))], "two layers 'conv'"),
        ([layer(blob(1), name=b"")], "have no names"),
        ([layer(blob(1), name=b"\xff")], "not UTF-8"),
        ([layer(blob(1), name=b"a" * 2000)], "layer's name of 2000 bytes"),
        ([layer(blob(2))], r"'conv/0' of shape \(2,\) that holds 1 values"),
        ([layer(blob(-1))], r"shape \(-1,\)"),
        ([layer(blob(-1, -1))], r"shape \(-1, -1\)"),
        ([layer(blob(1 << 32, 1 << 32))], r"shape \(4294967296, 4294967296\)"),
        ([layer(blob(0, 1 << 62, values=0))], "holds 0 values"),
        ([layer(blob(*[1] * 33))], "over 32 axes"),
        ([layer(message(7))], "holds 0 values"),
        ([layer(number(1, 1) + message(5, ONE))], r"shape \(1, 0, 0, 0\)"),
        ([layer(message(5, ONE[:3]))], "3 bytes of floats"),
        ([layer(blob(1) + message(8, ONE * 2))[:-3]], "protocol buffer"),
        ([message(100, b"\x0a" + varint(1 << 60))], f"{1 << 60} bytes, where 0"),
        ([tag(100, BYTES), varint(9), b"abc"], "9 bytes, where 3"),
        ([b"\x08" + b"\x80" * 10 + b"\x01"], "over 64 bits"),
        ([b"\x08" + b"\xff" * 9 + b"\x02"], "over 64 bits"),
        ([b"\x08\x80"], "does not end"),
        ([tag(1, 3), tag(1, 4)], "wire type 3"),
        ([b"\x00" * 64], "number 0"),
        ([layer(*[b""] * ((1 << 17) + 1))], "over 131072 fields"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, parts, found):
    with pytest.raises(UnreadableError, match=found):
        read(tmp_path, *parts)


def test_deep_nesting_is_not_entered(tmp_path):
    nested = b""
    for _ in range(3000):
        nested = message(99, nested)
    assert list(read(tmp_path, nested, layer(nested + blob(1))).tensors) == ["conv/0"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_cut_file_never_gives_other_values(tmp_path, packed):
    path = save_caffemodel(tmp_path / "a", some_layers(), packed=packed)
    whole = {name: tensor.read() for name, tensor in caffe.read(path).tensors.items()}
    data, loaded = path.read_bytes(), 0
    for size in range(len(data)):
        try:
            tensors = read(tmp_path, data[:size]).tensors
        except UnreadableError:
            continue
        loaded += 1
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(tensor.read(), whole[name], strict=True)
    assert loaded == 2  # cut after a layer, it is a shorter model


def test_a_changed_byte_is_refused_or_read(tmp_path):
    path = save_caffemodel(tmp_path / "a", {"a": [np.ones((2, 3), "f4")]}, packed=False)
    data, refused = path.read_bytes(), 0
    for position in range(len(data)):
        for value in (0, 1, 0x7F, 0x80, 0xFF, data[position] ^ 2):
            changed = bytearray(data)
            changed[position] = value
            try:
                tensors = read(tmp_path, changed).tensors
            except UnreadableError:
                refused += 1
            else:
                assert [tensor.read().size for tensor in tensors.values()] == [6]
    assert refused > len(data)


def test_a_model_is_recognised_by_its_first_bytes(tmp_path):
    for v1 in (False, True):
        path = save_caffemodel(tmp_path / "a", some_layers(), v1)
        assert caffe.looks_like(path.read_bytes()[:16])
    assert caffe.looks_like(layer(blob(1)))
    for start in (b"", b"\x89HDF\r\n", b"PK\x03\x04", b"\x80\x02", b"<html>"):
        assert not caffe.looks_like(start)


def test_numbers_are_those_of_protocol_buffers():
    for value in (0, 1, 127, 128, 300, (1 << 63) - 1, -1, -(1 << 63)):
        data = varint(value)
        found, end = protobuf.varint(memoryview(data), 0, len(data))
        assert (protobuf.signed(found), end) == (value, len(data))


@pytest.mark.caffe
@pytest.mark.parametrize("v1", [False, True])
@pytest.mark.parametrize("legacy_shape", [False, True])
def test_opencv_reads_what_the_tests_write(tmp_path, v1, legacy_shape):
    import cv2  # noqa: PLC0415

    draw = np.random.default_rng(5).normal
    kernel, bias = draw(size=(4, 2, 1, 1)).astype("f4"), draw(size=4).astype("f4")
    dense, shift = draw(size=(3, 36)).astype("f4"), draw(size=3).astype("f4")
    weights = save_caffemodel(
        tmp_path / "a.caffemodel",
        {"conv/1x1": [kernel, bias], "fc": [dense, shift]},
        v1,
        legacy_shape=legacy_shape,
    )
    text = tmp_path / "a.prototxt"
    text.write_text(
        """
        input: "data"
        input_dim: 1 input_dim: 4 input_dim: 3 input_dim: 3
        layer { name: "conv/1x1" type: "Convolution" bottom: "data" top: "conv"
                convolution_param { num_output: 4 kernel_size: 1 group: 2 } }
        layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
                inner_product_param { num_output: 3 } }
        """
    )
    net = cv2.dnn.readNetFromCaffe(str(text), str(weights))
    image = draw(size=(1, 4, 3, 3)).astype("f4")
    net.setInput(image)
    tensors = {n: tensor.read() for n, tensor in caffe.read(weights).tensors.items()}
    halves = np.split(tensors["conv/1x1/0"][:, :, 0, 0], 2)
    maps = np.concatenate(
        [
            np.einsum("oi,ihw->ohw", half, part)
            for half, part in zip(halves, np.split(image[0], 2), strict=True)
        ]
    )
    maps += tensors["conv/1x1/1"].reshape(4, 1, 1)
    answer = tensors["fc/0"].reshape(3, 36) @ maps.ravel() + tensors["fc/1"].ravel()
    np.testing.assert_allclose(net.forward()[0], answer, rtol=1e-4, atol=1e-5)
