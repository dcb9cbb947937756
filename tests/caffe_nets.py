"""Caffe's AlexNet and GoogLeNet: their layers as text, and OpenCV's answers."""

import numpy as np
from drawn import weights

from convzoo.models.googlenet import TABLE1

BIAS = 20.0  # their maps are as large as the images, 0..255: a small bias would hide
LRN = "local_size: 5 alpha: 0.0001 beta: 0.75"


class Deploy:
    """A network's description, written layer by layer, and its arrays' shapes."""

    def __init__(self, side):
        self.channels = {"data": 3}
        self.shapes = {}
        self.lines = [
            'name: "net" layer { name: "data" type: "Input" top: "data" input_param '
            f"{{ shape: {{ dim: 1 dim: 3 dim: {side} dim: {side} }} }} }}"
        ]

    def add(self, kind, name, *sources, settings="", top=None, maps=None):
        bottoms = " ".join(f'bottom: "{source}"' for source in sources)
        top = top or name
        fields = f'name: "{name}" type: "{kind}" {bottoms} top: "{top}" {settings}'
        self.lines.append(f"layer {{ {fields} }}")
        self.channels[top] = maps or self.channels[sources[0]]
        return top

    def relu(self, x):
        return self.add("ReLU", f"{x}/relu", x, top=x)

    def conv(self, x, name, maps, kernel, stride=1, pad=0, group=1):
        shape = (maps, self.channels[x] // group, kernel, kernel)
        self.shapes |= {f"{name}/0": shape, f"{name}/1": (maps,)}
        settings = (
            f"convolution_param {{ num_output: {maps} kernel_size: {kernel} "
            f"stride: {stride} pad: {pad} group: {group} }}"
        )
        x = self.add("Convolution", name, x, settings=settings, maps=maps)
        return self.relu(x)

    def dense(self, x, name, inputs, units):
        self.shapes |= {f"{name}/0": (units, inputs), f"{name}/1": (units,)}
        settings = f"inner_product_param {{ num_output: {units} }}"
        return self.add("InnerProduct", name, x, settings=settings, maps=units)

    def pool(self, x, name, sizes, kind="MAX"):
        settings = f"pooling_param {{ pool: {kind} {sizes} }}"
        return self.add("Pooling", name, x, settings=settings)

    def lrn(self, x, name):
        return self.add("LRN", name, x, settings=f"lrn_param {{ {LRN} }}")


def alexnet(side=227, top=True):
    """Two groups in conv2, conv4 and conv5; normalised before it is pooled."""
    net = Deploy(side)
    x = net.conv("data", "conv1", 96, 11, stride=4)
    x = net.pool(net.lrn(x, "norm1"), "pool1", "kernel_size: 3 stride: 2")
    x = net.conv(x, "conv2", 256, 5, pad=2, group=2)
    x = net.pool(net.lrn(x, "norm2"), "pool2", "kernel_size: 3 stride: 2")
    x = net.conv(x, "conv3", 384, 3, pad=1)
    x = net.conv(x, "conv4", 384, 3, pad=1, group=2)
    x = net.conv(x, "conv5", 256, 3, pad=1, group=2)
    x = net.pool(x, "pool5", "kernel_size: 3 stride: 2")
    if top:
        x = net.relu(net.dense(x, "fc6", 256 * 6 * 6, 4096))
        x = net.relu(net.dense(x, "fc7", 4096, 4096))
        net.dense(x, "fc8", 4096, 1000)
    return net


def googlenet(side=224, aux=False):
    """As in training where ``aux`` asks for the side heads."""
    net = Deploy(side)
    x = net.conv("data", "conv1/7x7_s2", 64, 7, stride=2, pad=3)
    x = net.lrn(net.pool(x, "pool1/3x3_s2", "kernel_size: 3 stride: 2"), "pool1/norm1")
    x = net.conv(x, "conv2/3x3_reduce", 64, 1)
    x = net.lrn(net.conv(x, "conv2/3x3", 192, 3, pad=1), "conv2/norm2")
    for number, modules in enumerate(TABLE1, start=2):
        x = net.pool(x, f"pool{number}/3x3_s2", "kernel_size: 3 stride: 2")
        for module in modules:
            x = _inception(net, x, *module)
            side_head = {"inception_4a": "loss1", "inception_4d": "loss2"}
            if aux and module.name in side_head:
                _side_head(net, x, side_head[module.name])
    x = net.pool(x, "pool5/7x7_s1", "global_pooling: true", kind="AVE")
    net.dense(x, "loss3/classifier", 1024, 1000)
    return net


def _inception(net, x, name, n1x1, reduce3, n3x3, reduce5, n5x5, proj):
    pool = net.pool(x, f"{name}/pool", "kernel_size: 3 stride: 1 pad: 1")
    middle = net.conv(x, f"{name}/3x3_reduce", reduce3, 1)
    wide = net.conv(x, f"{name}/5x5_reduce", reduce5, 1)
    branches = (
        net.conv(x, f"{name}/1x1", n1x1, 1),
        net.conv(middle, f"{name}/3x3", n3x3, 3, pad=1),
        net.conv(wide, f"{name}/5x5", n5x5, 5, pad=2),
        net.conv(pool, f"{name}/pool_proj", proj, 1),
    )
    maps = n1x1 + n3x3 + n5x5 + proj
    return net.add("Concat", f"{name}/output", *branches, maps=maps)


def _side_head(net, x, name):
    x = net.pool(x, f"{name}/ave_pool", "kernel_size: 5 stride: 3", kind="AVE")
    x = net.conv(x, f"{name}/conv", 128, 1)
    x = net.relu(net.dense(x, f"{name}/fc", 128 * 4 * 4, 1024))
    net.dense(x, f"{name}/classifier", 1024, 1000)


def layers(net):
    """Draw a network's arrays: kernel and bias by layer."""
    arrays = weights(net.shapes, BIAS)
    names = dict.fromkeys(name.rpartition("/")[0] for name in arrays)
    return {name: [arrays[f"{name}/0"], arrays[f"{name}/1"]] for name in names}


def opencv(net, path):
    """Return a function that answers pictures by OpenCV: the maps of some layers."""
    import cv2  # noqa: PLC0415

    description = path.with_suffix(".prototxt")
    description.write_text("\n".join(net.lines))
    network = cv2.dnn.readNetFromCaffe(str(description), str(path))

    def answer(pictures, *names):
        bgr = pictures[..., ::-1].astype(np.float32) - np.float32((104, 117, 123))
        network.setInput(np.ascontiguousarray(bgr.transpose(0, 3, 1, 2)), "data")
        found = network.forward(list(names))
        return found[0] if len(names) == 1 else found

    return answer
