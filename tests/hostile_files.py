"""Load thousands of damaged files of one format, in a process of its own.

``python hostile_files.py FORMAT FOLDER`` prints what came of them as JSON. It ends at
the first one that is neither refused in one sentence nor loaded; the file is still in
the folder then, and its number, which is its name, makes it anew.
"""

import conftest  # noqa: F401, I001  (before Keras)

import contextlib
import json
import os
import random
import re
import resource
import sys
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np
from caffe_files import save_caffemodel
from keras import layers
from keras.src.legacy.saving import legacy_h5_format
from mutations import mutated, structure
from small_nets import randomised, tiny, values
from test_reader_tensorflow import table
from torch_files import raw, save_legacy, save_zip, state_dict, write_zip

import convzoo
from convzoo import save_weights
from convzoo.models.plan import Origin
from convzoo.pretrained import files
from convzoo.pretrained.loading import fill_from
from convzoo.pretrained.readers import hdf5, hdf5_listing
from convzoo.pretrained.readers import tensorflow_checkpoint as tensorflow
from convzoo.pretrained.readers.content import UnreadableError

DATA = "data-00000-of-00001"
LISTER = 0.5  # seconds for the HDF5 library
STARTS = {
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn"),
    *("subprocess.Popen", "pickle.find_class", "socket.connect", "ctypes.dlopen"),
    *("compile", "exec"),
}


class Part(NamedTuple):
    """Bytes to damage, and how a file is made with them."""

    data: bytes
    spots: list[int]  # where its structure is
    write: Callable[[Path, bytes], Any]


class Format(NamedTuple):
    """A network, and the parts of its file."""

    model: keras.Model
    parts: list[Part]
    suffix: str = ""


def whole(path, arrays, write=Path.write_bytes):
    data = path.read_bytes()
    return Part(data, structure(data, arrays), write)


def vgg16():
    """The body of VGG16, but narrow."""
    image = x = keras.Input((8, 8, 3), name="image")
    for stage, depth in enumerate((2, 2, 3, 3, 3), 1):
        for i in range(1, depth + 1):
            width = 64 if (stage, i) == (1, 1) else 2  # its files are known by 64
            x = layers.Conv2D(width, 3, padding="same", name=f"block{stage}_conv{i}")(x)
    return of_the_zoo(keras.Model(image, x), "vgg16", "plain", {"batch_norm": False})


def googlenet():
    """A branch and a half of GoogLeNet, of which a file is known by the first."""
    maps = keras.Input((8, 8, 192), name="image")
    sizes = {"1x1": (64, 1), "3x3_reduce": (2, 1), "5x5_reduce": (2, 1)}
    branches = [
        layers.Conv2D(width, side, name=f"inception_3a_{part}")(maps)
        for part, (width, side) in sizes.items()
    ]
    branches.append(layers.Conv2D(2, 3, name="inception_3a_3x3")(branches[1]))
    return of_the_zoo(keras.Model(maps, branches), "googlenet", "paper", {})


def of_the_zoo(model, builder, variant, options):
    origin = Origin(builder, variant, options, 1000, False, None)
    object.__setattr__(model, "origin", origin)
    return randomised(model)


def ours(path):
    """One network of every kind of weight; also the header alone is damaged."""
    model = tiny()
    path = path.with_suffix(".safetensors")
    data = save_weights(model, path).read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")

    def write(path, header):
        length = len(header).to_bytes(8, "little")
        path.write_bytes(length + header + data[end:])

    header = data[8:end]
    parts = [whole(path, values(model)), Part(header, structure(header, ()), write)]
    return Format(model, parts)


def timm(path):
    model = randomised(
        convzoo.mobilenet(
            variant="torch", alpha=1 / 32, input_shape=(32, 32, 3), include_top=False
        )
    )
    path = save_weights(model, path.with_suffix(".safetensors"), layout="timm")
    return Format(model, [whole(path, values(model))])


def torch_arrays(model):
    path = Path("theirs.safetensors")
    save_weights(model, path, layout="torchvision")
    arrays = {name: each.read() for name, each in files.read(path).tensors.items()}
    path.unlink()
    return arrays


def torch_zip(path, deflated=False):
    """The archive, and its pickle under a right checksum."""
    model = vgg16()
    arrays = torch_arrays(model)
    save_zip(path, arrays, deflated=deflated)
    storages = {str(key): raw(array) for key, array in enumerate(arrays.values())}

    def write(path, pickle):
        write_zip(path, pickle, storages, deflated=deflated)

    pickle = state_dict(arrays)
    parts = [whole(path, arrays.values()), Part(pickle, structure(pickle, ()), write)]
    return Format(model, parts)


def torch_deflated(path):
    return torch_zip(path, deflated=True)


def torch_legacy(path):
    model = vgg16()
    arrays = torch_arrays(model)
    save_legacy(path, arrays)
    return Format(model, [whole(path, arrays.values())])


def tensorflow_checkpoint(path):
    """The index, its one block under a right checksum, and the data."""
    import tensorflow as tf  # noqa: PLC0415

    model, checkpoint = vgg16(), tf.train.Checkpoint()
    for number, layer in enumerate(model.layers[1:]):
        parts = {part.name: tf.Variable(part) for part in layer.weights}
        name = f"layer_with_weights-{number}"
        setattr(checkpoint, name, tf.train.Checkpoint(**parts))
    checkpoint.write(str(path))
    index, values_at = Path(f"{path}.index"), f"{path}.{DATA}"
    content, numbers = index.read_bytes(), Path(values_at).read_bytes()
    behind, _, _ = tensorflow._handle(content, len(content) - 48, len(content))
    block = content[: behind - 5]

    def write(path, index=content, numbers=numbers):
        path.write_bytes(index)
        path.with_name(path.name.replace("index", DATA)).write_bytes(numbers)

    parts = [
        Part(content, structure(content, ()), write),
        Part(
            block, structure(block, ()), lambda path, block: write(path, table(block))
        ),
        Part(numbers, [0], lambda path, numbers: write(path, numbers=numbers)),
    ]
    return Format(model, parts, ".index")


def caffe(path, v1=False):
    model, nets = googlenet(), {}
    for layer in model.layers[1:]:
        kernel, bias = values(layer)
        name = layer.name.replace("3a_", "3a/")
        nets[name] = [kernel.transpose(3, 2, 0, 1), bias]
    save_caffemodel(path, nets, v1, legacy_shape=v1)
    arrays = [array for pair in nets.values() for array in pair]
    return Format(model, [whole(path, arrays)])


def caffe_v1(path):
    return caffe(path, v1=True)


def weights_h5(path):
    model = tiny()
    path = path.with_suffix(".weights.h5")
    model.save_weights(path)
    return Format(model, [whole(path, values(model))])


def keras_zip(path):
    """The archive, and both of its members under right checksums."""
    model = tiny()
    path = path.with_suffix(".keras")
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def written(changed):
        def write(path, data):
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in (members | {changed: data}).items():
                    archive.writestr(name, content)

        return write

    parts = [
        Part(members[name], structure(members[name], values(model)), written(name))
        for name in ("config.json", "model.weights.h5")
    ]
    return Format(model, [whole(path, values(model)), *parts])


def legacy_h5(path):
    model = vgg16()
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return Format(model, [whole(path, values(model))])


def full_h5(path):
    model = vgg16()
    path = path.with_suffix(".h5")
    model.save(path)
    return Format(model, [whole(path, values(model))])


class Kind(NamedTuple):
    """How a format's file is made, and how many damaged ones are loaded."""

    make: Callable[[Path], Format]
    files: int


FORMATS = {
    "timm safetensors": Kind(timm, 500),  # a whole network, slower than the others
    "safetensors": Kind(ours, 3000),
    "torch zip": Kind(torch_zip, 2500),
    "torch zip, deflated": Kind(torch_deflated, 2000),
    "torch legacy": Kind(torch_legacy, 2500),
    "TensorFlow checkpoint": Kind(tensorflow_checkpoint, 2500),
    "caffemodel": Kind(caffe, 2000),
    "caffemodel V1": Kind(caffe_v1, 2000),
    "Keras 3 .weights.h5": Kind(weights_h5, 1000),
    "Keras 3 .keras": Kind(keras_zip, 1000),
    "Keras 2 .h5": Kind(legacy_h5, 1000),
    "Keras 2 .h5, whole model": Kind(full_h5, 1000),
}


class Starts:
    """Notes what starts code, but for the readers' own child."""

    def __init__(self):
        self.seen = []
        sys.addaudithook(self._note)

    def _note(self, event, arguments):
        ours = event == "subprocess.Popen" and hdf5_listing.__file__ in arguments[1]
        if event in STARTS and not ours:
            self.seen.append((event, str(arguments)))


def state(model):
    return [value.tobytes() for value in values(model)]


def attempt(form, path, lister):
    """Load a file; return what came of it, and read every array of a refused one."""
    before, checkpoint = state(form.model), None
    try:
        checkpoint = files.read(path, lister=lister)
        fill_from(form.model, checkpoint)
    except FileNotFoundError as error:
        assert re.search(r"no file .*data-\d{5}-of-\d{5}, where", str(error))  # noqa: PT017
        outcome = "without a part"
    except ValueError as error:
        text = str(error)
        assert str(path) in text
        assert text.isprintable(), text
        assert text.endswith("."), text
        assert len(text) < 1500, text
        outcome = "refused"
        if "a network that the zoo does not have" in text:
            checkpoint = files._reader(path, False, lister).read(path)
    else:
        assert all(np.isfinite(value).all() for value in values(form.model))
        return "loaded"
    assert state(form.model) == before
    with contextlib.suppress(UnreadableError):  # of what is packed
        for stored in checkpoint.tensors.values() if checkpoint else ():
            array = stored.read()
            assert (array.shape, array.dtype) == (stored.shape, stored.dtype)
    return outcome


def run(name, folder):
    """Load damaged files one after the other; return what came of them."""
    os.chdir(folder)  # where a command would leave its trace
    form = FORMATS[name].make(Path("base"))
    _empty()
    outcomes, seconds, largest, starts = Counter(), 0.0, 0, Starts()
    with contextlib.closing(hdf5.Lister(LISTER)) as lister:
        for part in form.parts:  # also imports what loading imports
            path = Path(f"base{form.suffix}")
            part.write(path, part.data)
            assert attempt(form, path, lister) == "loaded"
        starts.seen.clear()
        warnings.simplefilter("error", RuntimeWarning)
        memory = _memory()
        for number in range(FORMATS[name].files):
            _empty()
            chance = random.Random(f"{name} {number}")
            part = chance.choice(form.parts)
            path = Path(f"{number}{form.suffix}")
            part.write(path, mutated(part.data, part.spots, chance))
            written = sorted(Path().iterdir())
            largest = max(largest, *(each.stat().st_size for each in written))
            began = time.process_time()
            outcomes[attempt(form, path, lister)] += 1
            seconds = max(seconds, time.process_time() - began)
            assert starts.seen == []
            assert sorted(Path().iterdir()) == written
    return {
        "outcomes": outcomes,
        "seconds": seconds,  # for the slowest one, of this process
        "memory": _memory() - memory,
        "largest": largest,
    }


def _empty():
    for path in Path().iterdir():
        path.unlink()


def _memory():
    """Return the most bytes that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
