"""PyTorch's files without PyTorch: its pickles by opcode, its two containers."""

import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np

STORAGES = {
    np.dtype(dtype): f"{name}Storage"
    for name, dtype in {
        "Float": np.float32,
        "Double": np.float64,
        "Half": np.float16,
        "BFloat16": ml_dtypes.bfloat16,
        "Long": np.int64,
        "Int": np.int32,
        "Short": np.int16,
        "Char": np.int8,
        "Byte": np.uint8,
        "Bool": np.bool_,
    }.items()
}

PROTO, STOP, MARK, REDUCE, SETITEMS = b"\x80\x02", b".", b"(", b"R", b"u"
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"
ALIGNMENT = 64


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value):
    if 0 <= value < 256:
        return b"K" + bytes([value])
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


def tuple_(*parts):
    return MARK + b"".join(parts) + b"t"


def integers(values):
    return tuple_(*map(integer, values))


def storage(key, length, kind="FloatStorage", legacy=False, location="cpu"):
    view = b"N" if legacy else b""
    kind = f"ctorch\n{kind}\n".encode()
    parts = text("storage"), kind, text(key), text(location), integer(length), view
    return tuple_(*parts) + b"Q"


def tensor(stored, offset, shape, stride):
    parts = integer(offset), integers(shape), integers(stride), b"\x89", ORDERED_DICT
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + tuple_(stored, *parts) + REDUCE


def dict_(items, start=ORDERED_DICT):
    return start + MARK + b"".join(text(key) + items[key] for key in items) + SETITEMS


def pickled(value):
    return PROTO + value + STOP


def strides(shape):
    return [int(np.prod(shape[axis + 1 :], dtype=int)) for axis in range(len(shape))]


def state_dict(arrays, legacy=False):
    """Pickle the arrays as an ordered dict; array number i has the storage "i"."""
    return pickled(
        dict_(
            {
                name: tensor(
                    storage(str(key), array.size, STORAGES[array.dtype], legacy),
                    0,
                    array.shape,
                    strides(array.shape),
                )
                for key, (name, array) in enumerate(arrays.items())
            }
        )
    )


def raw(array):
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def write_zip(path, data, storages, root="archive", extra=(), deflated=False):
    """Write an archive as PyTorch 1.6 and later do, each storage aligned."""
    members = {"data.pkl": data, **dict(extra)}
    members |= {f"data/{key}": content for key, content in storages.items()}
    members["version"] = b"3\n"
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(f"{root}/{name}")
            info.compress_type = zipfile.ZIP_DEFLATED if deflated else 0
            info.file_size = memoryview(content).nbytes
            start = file.tell() + 30 + len(info.filename) + 4
            padding = -start % ALIGNMENT
            info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
            with archive.open(info, "w") as member:
                member.write(content)


def save_zip(path, arrays, **options):
    """Write named arrays as torch.save does since 1.6."""
    storages = {str(key): raw(array) for key, array in enumerate(arrays.values())}
    write_zip(path, state_dict(arrays), storages, **options)


def legacy_head(little_endian=True):
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {
        "protocol_version": 1001,
        "little_endian": little_endian,
        "type_sizes": sizes,
    }
    parts = 0x1950A86A20F9469CFC6C, 1001, system
    return b"".join(pickle.dumps(part, 2) for part in parts)


def write_legacy(path, data, storages, head=None):
    """Write a stream as PyTorch before 1.6 does; storages are (length, bytes)."""
    with path.open("wb") as file:
        file.write(legacy_head() if head is None else head)
        file.write(data)
        file.write(pickle.dumps(list(storages), 2))
        for length, content in storages.values():
            file.write(struct.pack("<q", length))
            file.write(content)


def save_legacy(path, arrays):
    """Write named arrays as torch.save did before 1.6."""
    storages = {
        str(key): (array.size, raw(array)) for key, array in enumerate(arrays.values())
    }
    write_legacy(path, state_dict(arrays, legacy=True), storages)
