"""Batch norm, activations and initialisation of every builder, against the sources.

The tables are written by hand from the papers, the authors' releases and the
frameworks' code that the builders' docstrings name. Where those are silent, they fix
the zoo's own choice: the batch norm of U-Net and of the VGG and Inception miniatures.
"""

import collections
import math
import re

import keras
import pytest
from structure import STRUCTURES, skeleton, structure

# Epsilon, momentum (Keras' sense: PyTorch's 0.1 is 0.9), whether gamma exists.
CAFFE = TORCH = (1e-5, 0.9, True)
KERAS = (1e-3, 0.99, True)
# fmt: off
NORMS = {
    "vgg16-bn":                 TORCH,
    "vgg19-bn":                 TORCH,
    "googlenet-torch":          (1e-3, 0.9, True),
    "googlenet-torch-aux":      (1e-3, 0.9, True),
    "inception_v3-keras":       (1e-3, 0.99, False),
    "inception_v3-keras-aux":   (1e-3, 0.99, False),
    "inception_v3-torch":       (1e-3, 0.9, True),
    "inception_v3-torch-aux":   (1e-3, 0.9, True),
    "resnet18-v1":              CAFFE,
    "resnet18-v1.5":            CAFFE,
    "resnet34-v1":              CAFFE,
    "resnet34-v1.5":            CAFFE,
    "resnet50-v1":              CAFFE,
    "resnet50-v1.5":            CAFFE,
    "resnet101-v1":             CAFFE,
    "resnet101-v1.5":           CAFFE,
    "resnet152-v1":             CAFFE,
    "resnet152-v1.5":           CAFFE,
    "xception-keras":           KERAS,
    "xception-torch":           TORCH,
    "mobilenet-keras":          KERAS,
    "mobilenet-0.75":           KERAS,
    "mobilenet-0.5":            KERAS,
    "mobilenet-0.25":           KERAS,
    "mobilenet-torch":          TORCH,
    "unet-same":                KERAS,
    "unet-same-odd":            KERAS,
    "mini_vgg-rosebrock":       KERAS,
    "mini_inception-half":      KERAS,
    "mini_inception-zhang2017": KERAS,
    "mini_resnet-he2016":       CAFFE,
    "mini_resnet-20-B":         CAFFE,
    "mini_resnet-56-A":         CAFFE,
}

# How many layers have which activation; all others are linear. A ReLU follows each
# convolution of a plain or inception net and each hidden dense layer; a residual block
# has one per convolution, that of the last behind the addition. Xception: two in the
# stem, one in block 2 (which starts activated), 2 + 2 in blocks 3 and 4, 8 * 3 in the
# middle flow, 2 + 2 in the exit flow.
ACTIVATIONS = {
    "lenet-modern":             {"tanh": 4, "softmax": 1},         # C1 C3 C5 F6
    "lenet-paper":              {"scaled_tanh": 6, "softmax": 1},  # and S2 S4
    "alexnet-paper":            {"relu": 2 * 5 + 2, "softmax": 1},
    "alexnet-torch":            {"relu": 5 + 2, "softmax": 1},
    "vgg16-plain":              {"relu": 13 + 2, "softmax": 1},
    "vgg19-plain":              {"relu": 16 + 2, "softmax": 1},
    "vgg16-bn":                 {"relu": 13 + 2, "softmax": 1},
    "vgg19-bn":                 {"relu": 16 + 2, "softmax": 1},
    "googlenet-paper":          {"relu": 3 + 9 * 6, "softmax": 1},
    "googlenet-torch":          {"relu": 3 + 9 * 6, "softmax": 1},
    "googlenet-paper-aux":      {"relu": 3 + 9 * 6 + 2 * 2, "softmax": 3},
    "googlenet-torch-aux":      {"relu": 3 + 9 * 6 + 2 * 2, "softmax": 3},
    "inception_v3-keras":       {"relu": 94, "softmax": 1},
    "inception_v3-torch":       {"relu": 94, "softmax": 1},
    "inception_v3-keras-aux":   {"relu": 94 + 2, "softmax": 2},
    "inception_v3-torch-aux":   {"relu": 94 + 2, "softmax": 2},
    "resnet18-v1":              {"relu": 17, "softmax": 1},
    "resnet18-v1.5":            {"relu": 17, "softmax": 1},
    "resnet34-v1":              {"relu": 33, "softmax": 1},
    "resnet34-v1.5":            {"relu": 33, "softmax": 1},
    "resnet50-v1":              {"relu": 49, "softmax": 1},
    "resnet50-v1.5":            {"relu": 49, "softmax": 1},
    "resnet101-v1":             {"relu": 100, "softmax": 1},
    "resnet101-v1.5":           {"relu": 100, "softmax": 1},
    "resnet152-v1":             {"relu": 151, "softmax": 1},
    "resnet152-v1.5":           {"relu": 151, "softmax": 1},
    "xception-keras":           {"relu": 35, "softmax": 1},
    "xception-torch":           {"relu": 35, "softmax": 1},
    "mobilenet-keras":          {"relu6": 1 + 2 * 13, "softmax": 1},
    "mobilenet-torch":          {"relu6": 1 + 2 * 13, "softmax": 1},
    "unet-same":                {"relu": 18},
    "unet-paper":               {"relu": 18},
    "unet-paper-nearest":       {"relu": 18},
    "mini_vgg-rosebrock":       {"relu": 4 + 1, "softmax": 1},
    "mini_inception-half":      {"relu": 1 + 9 * 6, "softmax": 1},
    "mini_inception-zhang2017": {"relu": 1 + 8 * 2 + 2, "softmax": 1},
    "mini_resnet-he2016":       {"relu": 19, "softmax": 1},
    "mini_resnet-20-B":         {"relu": 19, "softmax": 1},
    "mini_resnet-56-A":         {"relu": 55, "softmax": 1},
}

# Rows of (layers, kernel, bias): the first whose expression a layer's name matches
# says how it starts. n is the fan-in; "-" means that there is no bias.
GLOROT = "uniform +-sqrt(3 / mean fan)"
LECUN = "uniform +-sqrt(3 / n)"
TORCH_UNIFORM = "uniform +-sqrt(1 / n)"
HE = "normal sqrt(2 / n)"
PREDICTIONS = r"head_predictions"
ANY = r".*"
NO_BIAS, ZERO = "-", "0"
RESNET = [(PREDICTIONS, HE, ZERO), (ANY, HE, NO_BIAS)]
CAFFE_GOOGLENET = [(r".*predictions", LECUN, ZERO), (ANY, LECUN, "0.2")]
TORCH_GOOGLENET = [
    (r".*predictions|aux._fc", "truncated normal 0.01", ZERO),
    (ANY, "truncated normal 0.01", NO_BIAS),
]
INCEPTION_AUX = [
    (r"aux_5x5_conv",      "truncated normal 0.01",  NO_BIAS),
    (r"aux_predictions",   "truncated normal 0.001", ZERO),
]
INCEPTION = [(ANY,         "truncated normal 0.1",   NO_BIAS)]
INCEPTION_KERAS = [(PREDICTIONS, "truncated normal 0.01", ZERO), *INCEPTION]
INCEPTION_TORCH = [(PREDICTIONS, "truncated normal 0.1",  ZERO), *INCEPTION]
DEPTHWISE_NETS = [(PREDICTIONS, GLOROT, ZERO), (ANY, GLOROT, NO_BIAS)]
UP_CONVOLUTIONS = [                           # n is the channels that come up
    (r"up4_up_conv",       f"normal {math.sqrt(2 / 1024):.4g}", ZERO),
    (r"up3_up_conv",       f"normal {math.sqrt(2 / 512):.4g}",  ZERO),
    (r"up2_up_conv",       f"normal {math.sqrt(2 / 256):.4g}",  ZERO),
    (r"up1_up_conv",       f"normal {math.sqrt(2 / 128):.4g}",  ZERO),
]
STARTS = {
    "lenet-modern":             [(ANY, GLOROT, ZERO)],
    "lenet-paper": [
        (r"c1",            "uniform +-0.096",    ZERO),  # 2.4 / 25
        (r"c5",            "uniform +-0.006",    ZERO),  # 2.4 / 400
        (r"head_f6",       "uniform +-0.02",     ZERO),  # 2.4 / 120
    ],
    "alexnet-paper": [
        (r"conv[245]_tower[12]|head_fc[67]",  "normal 0.01", "1"),
        (r"conv[13]_tower[12]|head_predictions", "normal 0.01", ZERO),
    ],
    "alexnet-torch":            [(ANY, TORCH_UNIFORM, ZERO)],
    "vgg16-plain":              [(ANY, GLOROT, ZERO)],
    "vgg19-plain":              [(ANY, GLOROT, ZERO)],
    "vgg16-bn":                 [(ANY, GLOROT, ZERO)],
    "vgg19-bn":                 [(ANY, GLOROT, ZERO)],
    "googlenet-paper":          CAFFE_GOOGLENET,
    "googlenet-paper-aux":      CAFFE_GOOGLENET,
    "googlenet-torch":          TORCH_GOOGLENET,
    "googlenet-torch-aux":      TORCH_GOOGLENET,
    "inception_v3-keras":       INCEPTION_KERAS,
    "inception_v3-keras-aux":   [*INCEPTION_AUX, *INCEPTION_KERAS],
    "inception_v3-torch":       INCEPTION_TORCH,
    "inception_v3-torch-aux":   [*INCEPTION_AUX, *INCEPTION_TORCH],
    "resnet18-v1":              RESNET,
    "resnet18-v1.5":            RESNET,
    "resnet34-v1":              RESNET,
    "resnet34-v1.5":            RESNET,
    "resnet50-v1":              RESNET,
    "resnet50-v1.5":            RESNET,
    "resnet101-v1":             RESNET,
    "resnet101-v1.5":           RESNET,
    "resnet152-v1":             RESNET,
    "resnet152-v1.5":           RESNET,
    "xception-keras":           DEPTHWISE_NETS,
    "xception-torch":           DEPTHWISE_NETS,
    "mobilenet-keras":          DEPTHWISE_NETS,
    "mobilenet-torch":          DEPTHWISE_NETS,
    "unet-same":                [*UP_CONVOLUTIONS, *RESNET],
    "unet-paper":               [*UP_CONVOLUTIONS, (ANY, HE, ZERO)],
    "unet-paper-nearest":       [(ANY, HE, ZERO)],
    "mini_vgg-rosebrock":       [(ANY, GLOROT, ZERO)],
    "mini_inception-half":      RESNET,
    "mini_inception-zhang2017": [(ANY, GLOROT, ZERO)],
    "mini_resnet-he2016":       RESNET,
    "mini_resnet-20-B":         RESNET,
    "mini_resnet-56-A":         RESNET,
}
# fmt: on

# Other widths of MobileNet, U-Net on an odd size and on ResNet-18 repeat the rest.
REPEATED = {
    "mobilenet-0.75",
    "mobilenet-0.5",
    "mobilenet-0.25",
    "unet-same-odd",
    "unet-resnet18",
}


def test_no_structure_is_without_its_row():
    assert set(ACTIVATIONS) == set(STARTS) == set(STRUCTURES) - REPEATED


@pytest.mark.parametrize("name", STRUCTURES)
def test_batch_norm(name):
    found = {
        (layer.epsilon, layer.momentum, layer.scale)
        for layer in structure(name).layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    if name == "unet-resnet18":  # the encoder's norm on the left, U-Net's on the right
        assert found == {CAFFE, KERAS}
    else:
        assert found == ({NORMS[name]} if name in NORMS else set())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    functions = (getattr(x, "activation", None) for x in structure(name).layers)
    found = collections.Counter(f.__name__ for f in functions if f is not None)
    del found["linear"]
    assert found == ACTIVATIONS[name]


def law(initializer):
    """Say what an initialiser draws, in the words of the tables."""
    kinds = keras.initializers
    if isinstance(initializer, kinds.VarianceScaling):
        fan = {"fan_in": "n", "fan_avg": "mean fan"}[initializer.mode]
        if initializer.distribution == "uniform":  # the variance is a third of a^2
            return f"uniform +-sqrt({3 * initializer.scale:.4g} / {fan})"
        kind = {"untruncated_normal": "normal"}[initializer.distribution]
        return f"{kind} sqrt({initializer.scale:.4g} / {fan})"
    if isinstance(initializer, kinds.RandomUniform):
        assert initializer.minval == -initializer.maxval
        return f"uniform +-{initializer.maxval:.4g}"
    if isinstance(initializer, (kinds.RandomNormal, kinds.TruncatedNormal)):
        assert initializer.mean == 0
        cut = "truncated " * isinstance(initializer, kinds.TruncatedNormal)
        return f"{cut}normal {initializer.stddev:.4g}"
    constants = {kinds.Zeros: 0, kinds.Ones: 1}
    value = constants.get(type(initializer), getattr(initializer, "value", None))
    return f"{value:g}"


def starts(model):
    """Yield each layer with kernels: its name, their laws, its bias's law."""
    for layer in model.layers:
        kernels = [
            getattr(layer, f"{part}_initializer")
            for part in ("kernel", "depthwise", "pointwise")
            if getattr(layer, f"{part}_initializer", None) is not None
        ]
        if kernels:
            bias = law(layer.bias_initializer) if layer.use_bias else NO_BIAS
            yield layer.name, {law(kernel) for kernel in kernels}, bias


@pytest.mark.parametrize("name", STARTS)
def test_initialisation(name):
    used = set()
    for layer, kernels, bias in starts(structure(name)):
        row = next(r for r in STARTS[name] if re.fullmatch(r[0], layer))
        assert (kernels, bias) == ({row[1]}, row[2]), layer
        used.add(row)
    assert used == set(STARTS[name])


def test_lenets_own_layers_start_by_their_fan_in():
    """S2 and S4 sum four inputs, C3's maps read 3, 4 or 6 maps: gain / fan-in."""
    model = structure("lenet-paper")
    assert [model.get_layer(name).gain for name in ("s2", "c3", "s4")] == [2.4] * 3


def test_lenets_fan_in_follows_the_input():
    # 48 pixels leave C5 maps of 5 x 5; of three channels C1 reads 75 values.
    model = skeleton("lenet", variant="paper", input_shape=(48, 48, 3))
    found = {name: kernels for name, kernels, _ in starts(model)}
    assert found == {
        "c1": {"uniform +-0.032"},  # 2.4 / 75
        "c5": {"uniform +-0.006"},  # 2.4 / 400
        "head_f6": {"uniform +-0.0008"},  # 2.4 / 3000
    }


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("alexnet-paper", ["conv1_lrn", "conv2_lrn"]),
        ("googlenet-paper", ["pool1_lrn", "conv2_lrn"]),
    ],
)
def test_local_response_normalisation(name, layers):
    """AlexNet's section 3.3: k = 2, n = 5, alpha = 1e-4, beta = 0.75."""
    found = {
        layer.name: (layer.bias, 2 * layer.depth_radius + 1, layer.alpha, layer.beta)
        for layer in structure(name).layers
        if type(layer).__name__ == "LocalResponseNormalization"
    }
    assert found == dict.fromkeys(layers, (2, 5, 1e-4, 0.75))
