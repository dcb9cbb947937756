"""TensorFlow's checkpoints, read without it: equal values, or one sentence."""

import struct
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from caffe_files import varint
from tensorflow.core.protobuf.tensor_bundle_pb2 import (
    BundleEntryProto,
    BundleHeaderProto,
)

from convzoo.pretrained.readers import tensorflow_checkpoint as reader
from convzoo.pretrained.readers.content import UnreadableError

HEADER = (0, b"", BundleHeaderProto(num_shards=1).SerializeToString())


def objects(**children):
    return tf.train.Checkpoint(**children)


def variable(*shape):
    return tf.Variable(
        np.random.default_rng(len(shape)).normal(size=shape), dtype="float32"
    )


def batch_norm():
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    return objects(**{part: variable(4) for part in parts})


def convolution():
    return objects(kernel=variable(3, 3, 2, 4), bias=variable(4))


def model(*layers):
    """Return a model as Keras 2 has it: each layer under two names, in this order."""
    found = objects()
    for index, layer in enumerate(layers):
        setattr(found, f"layer_with_weights-{index}", layer)
        setattr(found, f"layer-{index + 1}", layer)
    return found


def save(prefix, **tensors):
    """Write tensors under their names, as TensorFlow 1 did; "name=part" is a part."""
    names = [name.split("=")[0] for name in tensors]
    parts = [name.partition("=")[2] for name in tensors]
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=parts,
        tensors=list(tensors.values()),
    )
    return prefix.with_name(f"{prefix.name}.index")


def values(path):
    return {name: x.read() for name, x in reader.read(path).tensors.items()}


def test_a_model_of_keras_2_gives_its_layers_in_order(tmp_path):
    layers = [
        convolution(),
        batch_norm(),
        objects(depthwise_kernel=variable(3, 3, 4, 1), bias=variable(4)),
        model(convolution(), batch_norm()),
        objects(layer=convolution()),
        *(convolution() for _ in range(6)),
    ]
    weight = layers[0].kernel
    optimizer = tf.compat.v1.train.AdamOptimizer()
    optimizer.apply_gradients([(tf.ones(weight.shape), weight)])
    whole = model(*layers)
    whole.optimizer, whole.keras_api = optimizer, objects(total=variable())
    written = whole.save(str(tmp_path / "weights"))
    found = [key for key, _ in tf.train.list_variables(written)]
    assert any(".OPTIMIZER_SLOT" in key for key in found)
    assert any(key.startswith("optimizer/") for key in found)

    content = reader.read(tmp_path / "weights-1.index")
    assert content.format == "TensorFlow checkpoint"
    assert list(content.tensors) == [
        "layer_with_weights-0/bias",
        "layer_with_weights-0/kernel",
        *(
            f"layer_with_weights-1/{part}"
            for part in ("beta", "gamma", "moving_mean", "moving_variance")
        ),
        "layer_with_weights-2/bias",
        "layer_with_weights-2/depthwise_kernel",
        "layer_with_weights-3/layer_with_weights-0/bias",
        "layer_with_weights-3/layer_with_weights-0/kernel",
        *(
            f"layer_with_weights-3/layer_with_weights-1/{part}"
            for part in ("beta", "gamma", "moving_mean", "moving_variance")
        ),
        "layer_with_weights-4/layer/bias",
        "layer_with_weights-4/layer/kernel",
        *(
            f"layer_with_weights-{i}/{part}"
            for i in range(5, 11)
            for part in ("bias", "kernel")
        ),
    ]
    theirs = tf.train.load_checkpoint(written)
    for name, tensor in content.tensors.items():
        array = tensor.read()
        assert isinstance(array, np.memmap)
        expected = theirs.get_tensor(f"{name}/.ATTRIBUTES/VARIABLE_VALUE")
        np.testing.assert_array_equal(array, expected, strict=True)


def test_names_of_objects_are_unescaped(tmp_path):
    names = {"a.b": objects(w=variable()), "c/d": variable(), "e..S": variable()}
    objects(**names).save(str(tmp_path / "w"))
    found = reader.read(tmp_path / "w-1.index").tensors
    assert set(found) == {"a.b/w", "c/d", "e..S"}


def test_every_type_reads_under_the_name_it_has(tmp_path):
    kinds = [
        *("float32", "float64", "float16", ml_dtypes.bfloat16, "bool"),
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    ]
    arrays = {
        f"conv{i:02}/kernel": np.arange(-2, 4).astype(kind).reshape(2, 3)
        for i, kind in enumerate(kinds)
    }
    arrays["global_step"] = np.int64(7)
    path = save(tmp_path / "w", **arrays, text=np.array(["a", "b"], object))
    found = values(path)
    assert list(found) == list(arrays)
    for name, array in found.items():
        np.testing.assert_array_equal(array, arrays[name], strict=True)


def test_an_index_of_several_blocks_reads_whole(tmp_path):
    arrays = {f"{i:04}{'/scope' * 40}": np.float32(i) for i in range(1500)}
    path = save(tmp_path / "w", **arrays)
    assert path.stat().st_size > 1 << 18
    assert values(path) == arrays


def test_data_may_lie_in_several_files(tmp_path):
    a, b = np.arange(3.0), np.arange(4.0)
    save(tmp_path / "one", a=a)
    save(tmp_path / "two", b=b)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / "one"), str(tmp_path / "two")],
        destination_prefix=str(tmp_path / "w"),
        delete_old_dirs=False,
    )
    found = values(tmp_path / "w.index")
    np.testing.assert_array_equal(found["a"], a)
    np.testing.assert_array_equal(found["b"], b)
    (tmp_path / "w.data-00001-of-00002").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no file .*w\.data-00001-of-00002, where .*w\.index"
    ):
        reader.read(tmp_path / "w.index")


def test_a_checkpoint_is_found_by_each_of_its_names(tmp_path):
    path = save(tmp_path / "w.0", a=np.arange(3.0))
    prefix = tmp_path / "w.0"
    for name in ("w.0", "w.0.index", "w.0.data-00000-of-00001"):
        assert reader.prefix_of(tmp_path / name) == prefix
    for name in ("w", "w.0.data-00000-of-1", "w.0.h5", ".index", "", "w.0.index.index"):
        assert reader.prefix_of(tmp_path / name) is None
    assert path.read_bytes().endswith(reader.MAGIC)


def test_tensorflow_is_not_imported(tmp_path):
    path = save(tmp_path / "w", a=np.arange(3.0))
    code = (
        "import pathlib, sys\n"
        "from convzoo.pretrained.readers import tensorflow_checkpoint as reader\n"
        "print(*reader.read(pathlib.Path(sys.argv[1])).tensors)\n"
        "print('tensorflow' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["a", "False"]


def test_checksums_are_castagnoli():
    assert reader.crc32c(b"123456789") == 0xE3069283
    assert reader.crc32c(bytes(32)) == 0x8A9136AA


def entry(name, shared=0, **fields):
    """Return a table's entry of a float, with other fields than it should have."""
    shape = fields.pop("shape", [])
    proto = BundleEntryProto(**{"dtype": 1, "size": 4, **fields})
    for side in shape:
        proto.shape.dim.add(size=side)
    return shared, name, proto.SerializeToString()


def block(*entries, restarts=(0,), count=None):
    parts = [
        varint(shared) + varint(len(name)) + varint(len(value)) + name + value
        for shared, name, value in entries
    ]
    count = len(restarts) if count is None else count
    return (
        b"".join(parts)
        + struct.pack(f"<{len(restarts)}I", *restarts)
        + struct.pack("<I", count)
    )


def sealed(content, compression=0):
    content += bytes([compression])
    return content + struct.pack("<I", reader.masked(reader.crc32c(content)))


def handle(offset, content):
    return varint(offset) + varint(len(content))


def table(content, root=None, compression=0, place=None):
    """Return an index of one block, if no root says otherwise."""
    data = sealed(content, compression)
    root = root or block((0, b"~", handle(0, content)))
    footer = handle(0, b"") + (place or handle(len(data), root))
    return data + sealed(root) + footer.ljust(40, b"\0") + reader.MAGIC


def read(tmp_path, index, data=bytes(64)):
    path = tmp_path / "w.index"
    path.write_bytes(index)
    (tmp_path / "w.data-00000-of-00001").write_bytes(data)
    return values(path)


def test_a_table_made_by_hand_is_read(tmp_path):
    content = block(HEADER, entry(b"conv/a"), entry(b"b", shared=5, offset=60))
    assert list(read(tmp_path, table(content))) == ["conv/a", "conv/b"]


GOOD = block(HEADER, entry(b"a"))
OBJECTS = entry(b"_CHECKPOINTABLE_OBJECT_GRAPH", dtype=7)
VALUE = b"/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (block(entry(b"a")), "no header"),
        (block(HEADER), "without variables"),
        (block(HEADER, OBJECTS, entry(b"a")), "without variables"),
        (block(HEADER, entry(b"a", dtype=7)), "without variables"),
        (block((0, b"", BundleHeaderProto(num_shards=1, endianness=1)
                .SerializeToString()), entry(b"a")), "big-endian"),
        (block((0, b"", b""), entry(b"a")), "data file 0 of 0"),
        (block((0, b"", b"\xff" * 11), entry(b"a")), "over 64 bits"),
        (block(HEADER, entry(b"a", shard_id=1)), "data file 1 of 1"),
        (block(HEADER, entry(b"a", shard_id=-1)), "data file 18446744073709551615 of"),
        (block(HEADER, entry(b"a", dtype=8)), "'a' of TensorFlow's type 8"),
        (block(HEADER, entry(b"a", dtype=101)), "type 101"),
        (block(HEADER, entry(b"a", shape=[2])), r"shape \(2,\) and 4 bytes"),
        (block(HEADER, entry(b"a", shape=[0])), r"shape \(0,\) and 4 bytes"),
        (block(HEADER, entry(b"a", shape=[-1])), r"shape \(-1,\)"),
        (block(HEADER, entry(b"a", shape=[-1, -1])), r"shape \(-1, -1\)"),
        (block(HEADER, entry(b"a", shape=[0, 1 << 62], size=0)), "and 0 bytes"),
        (block(HEADER, entry(b"a", shape=[1 << 31] * 2, size=0)), "and 0 bytes"),
        (block(HEADER, entry(b"a", shape=[1] * 33)), "over 32 axes"),
        (block(HEADER, entry(b"a", offset=61)), "past the end of the file's 64"),
        (block(HEADER, entry(b"a", offset=-1)), "past the end"),
        (block(HEADER, entry(b"a", shape=[1 << 58], size=1 << 60)), "past the end"),
        (block(HEADER, *(entry(b"%02d" % i) for i in range(17))), "overlap"),
        (block(HEADER, (0, b"a", b"\x12" + varint(1 << 60))), "protocol buffer"),
        (block(HEADER, (0, b"a", b"\x0b")), "wire type 3"),
        (block(HEADER, entry(b"\xff")), "not UTF-8"),
        (block(HEADER, entry(b"a" * 1025)), "a name of over 1024 bytes"),
        (block(HEADER, entry(b"a"), entry(b"a")), "not in order"),
        (block(HEADER, entry(b"b"), entry(b"a")), "not in order"),
        (block(HEADER, *(entry(b"%05d" % i) for i in range(1 << 15))), "over 32768"),
        (block(HEADER, (0, b"a", b"\x08\1" * (1 << 19))), "over 524288 fields"),
        (block(HEADER, OBJECTS, entry(b"a.Sb" + VALUE), entry(b"a/b" + VALUE)),
         "two variables 'a/b'"),
        (block(HEADER, entry(b"a", shared=1)), "goes past its block"),
        (block(HEADER, entry(b"a", shared=1 << 60)), "goes past its block"),
        (block(HEADER, entry(b"a"))[:8] + block(), "goes past its block"),
        (varint(0) + varint(1 << 60) + b"\0" + block(), "goes past its block"),
        (b"\x80" * 11 + block(), "over 64 bits"),
        (block(HEADER, entry(b"a"), count=1 << 31), "claims 2147483648 restarts"),
        (block(HEADER, entry(b"a"), count=0), "past its block|not in order"),
        (block(HEADER, entry(b"a"), restarts=(0, 3)), "restarts within an entry"),
        (block(HEADER, entry(b"a"), restarts=(0, 1 << 30)), "restarts within an entry"),
        (block(restarts=()), "no header"),
        (b"", "a block of 0 bytes"),
    ],
)  # fmt: skip
def test_what_a_block_may_not_hold(tmp_path, content, found):
    with pytest.raises(UnreadableError, match=found):
        read(tmp_path, table(content))


ROOT = len(sealed(GOOD))
ITSELF = block((0, b"~", handle(ROOT, bytes(14))))
assert len(ITSELF) == 14


@pytest.mark.parametrize(
    ("index", "found"),
    [
        (b"", "no index of a TensorFlow checkpoint"),
        (bytes(48), "no index of a TensorFlow checkpoint"),
        (reader.MAGIC, "no index of a TensorFlow checkpoint"),
        (table(GOOD, compression=1), "packed by snappy"),
        (table(GOOD, compression=9), "packed by method 9"),
        (b"\1" + table(GOOD)[1:], "the block at 0 has another checksum"),
        (table(GOOD, block((0, b"~", handle(1 << 60, GOOD)))), "a block of .* bytes"),
        (table(GOOD, block((0, b"~", varint(0) + varint(1 << 60)))), "a block of"),
        (table(GOOD, block((0, b"~", varint(0)))), "does not end"),
        # Blocks that lie in the root or in each other would never end.
        (table(GOOD, ITSELF), f"a block of {len(ITSELF)} bytes"),
        (table(GOOD, block(*[(0, b"~", handle(0, GOOD))] * 2)), "blocks overlap"),
        (table(GOOD, place=varint(1 << 60) + varint(8)), "a block of 8 bytes"),
        (table(GOOD, place=varint(0) + varint(1 << 60)), "a block of"),
        (table(GOOD, place=b"\x80" * 11), "over 64 bits"),
        (bytes((1 << 22) + 1), "an index of 4194305 bytes"),
    ],
)  # fmt: skip
def test_what_an_index_may_not_be(tmp_path, index, found):
    with pytest.raises(UnreadableError, match=found):
        read(tmp_path, index)


def test_partitioned_variables_are_refused(tmp_path):
    path = save(tmp_path / "w", **{"a=4 2 0,2:0,2": np.ones((2, 2), "f4")})
    with pytest.raises(UnreadableError, match="partitioned variable"):
        reader.read(path)
    parts = BundleEntryProto(dtype=1)
    parts.slices.add().extent.add(start=0, length=2)
    content = block(HEADER, (0, b"a", parts.SerializeToString()))
    with pytest.raises(UnreadableError, match="'a' in parts, a partitioned variable"):
        read(tmp_path, table(content))


def test_a_cut_checkpoint_is_refused(tmp_path):
    path = save(tmp_path / "w", a=np.ones(3, "f4"), b=np.ones(2, "f4"))
    index, file = path.read_bytes(), tmp_path / "w.data-00000-of-00001"
    data = file.read_bytes()
    for size in range(len(index)):
        path.write_bytes(index[:size])
        with pytest.raises(UnreadableError):
            reader.read(path)
    path.write_bytes(index)
    assert len(values(path)) == 2
    for size in range(len(data)):
        file.write_bytes(data[:size])
        with pytest.raises(UnreadableError, match="past the end"):
            reader.read(path)


def changes(data):
    for position in range(len(data)):
        for value in (0, 1, 0x7F, 0x80, 0xFF, data[position] ^ 2):
            if value != data[position]:
                changed = bytearray(data)
                changed[position] = value
                yield bytes(changed)


def test_a_changed_byte_is_refused_or_does_not_matter(tmp_path):
    content = block(HEADER, entry(b"conv/a", shape=[2, 1], size=8))
    refused = 0
    for changed in changes(table(content)):
        try:
            found = read(tmp_path, changed)
        except UnreadableError:
            refused += 1
        else:
            assert [(name, x.shape) for name, x in found.items()] == [
                ("conv/a", (2, 1))
            ]
    assert refused > 3 * len(content)


def test_a_changed_byte_under_a_right_checksum_is_refused_or_read(tmp_path):
    content = block(
        HEADER, entry(b"conv/a", shape=[2, 1], size=8), entry(b"b", 5, offset=8)
    )
    refused = 0
    for changed in changes(content):
        try:
            found = read(tmp_path, table(changed))
        except (UnreadableError, FileNotFoundError):
            refused += 1
        else:
            assert all(array.nbytes <= 64 for array in found.values())
    assert refused > 2 * len(content)
