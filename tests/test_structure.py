"""Counts, shapes, names and order of layers, of every builder, variant and option."""

import inspect
import math
import re

import keras
import pytest
from structure import GOLDEN, OPTIONS, STRUCTURES, manifest, skeleton, structure

import convzoo
from convzoo.anatomy import links, stages, taps
from convzoo.catalog import CATALOG, list_models
from convzoo.inspect.cost import macs

# From the papers' tables and arithmetic, not the catalogue: trainable, total, MACs.
# fmt: off
PUBLISHED = {
    "lenet-modern":            (61_706, 61_706, 416_520),
    "lenet-paper":             (60_000, 60_840, 326_520),
    "alexnet-paper":           (60_965_224, 60_965_224, 724_406_816),
    "alexnet-torch":           (61_100_840, 61_100_840, 714_188_480),
    "vgg16-plain":             (138_357_544, 138_357_544, 15_470_264_320),
    "vgg19-plain":             (143_667_240, 143_667_240, 19_632_062_464),
    "vgg16-bn":                (138_365_992, 138_374_440, 15_470_264_320),
    "vgg19-bn":                (143_678_248, 143_689_256, 19_632_062_464),
    "googlenet-paper":         (6_998_552, 6_998_552, 1_582_671_872),
    "googlenet-paper-aux":     (13_378_280, 13_378_280, 1_591_044_096),
    "googlenet-torch":         (6_624_904, 6_639_464, 1_498_376_192),
    "googlenet-torch-aux":     (13_004_888, 13_019_960, 1_506_748_416),
    "inception_v3-keras":      (23_817_352, 23_851_784, 5_713_216_096),
    "inception_v3-keras-aux":  (27_143_152, 27_179_376, 5_718_899_296),
    "inception_v3-torch":      (23_834_568, 23_869_000, 5_713_216_096),
    "inception_v3-torch-aux":  (27_161_264, 27_197_488, 5_718_899_296),
    "resnet18-v1":             (11_689_512, 11_699_112, 1_814_073_344),
    "resnet18-v1.5":           (11_689_512, 11_699_112, 1_814_073_344),
    "resnet34-v1":             (21_797_672, 21_814_696, 3_663_761_408),
    "resnet34-v1.5":           (21_797_672, 21_814_696, 3_663_761_408),
    "resnet50-v1":             (25_557_032, 25_610_152, 3_857_973_248),
    "resnet50-v1.5":           (25_557_032, 25_610_152, 4_089_184_256),
    "resnet101-v1":            (44_549_160, 44_654_504, 7_570_194_432),
    "resnet101-v1.5":          (44_549_160, 44_654_504, 7_801_405_440),
    "resnet152-v1":            (60_192_808, 60_344_232, 11_282_415_616),
    "resnet152-v1.5":          (60_192_808, 60_344_232, 11_513_626_624),
    "xception-keras":          (22_855_952, 22_910_480, 8_357_403_496),
    "xception-torch":          (22_855_952, 22_910_480, 8_357_403_496),
    "mobilenet-keras":         (4_231_976, 4_253_864, 568_740_352),
    "mobilenet-torch":         (4_231_976, 4_253_864, 568_740_352),
    "mobilenet-0.75":          (2_585_560, 2_601_976, 325_400_448),
    "mobilenet-0.5":           (1_331_592, 1_342_536, 149_497_088),
    "mobilenet-0.25":          (470_072, 475_544, 41_030_272),
    "unet-same":               (31_036_546, 31_048_322, None),
    "unet-paper":              (31_030_658, 31_030_658, 150_428_424_448),
    "unet-paper-nearest":      (31_030_658, 31_030_658, 167_322_556_672),
    "mini_vgg-rosebrock":      (2_169_770, 2_171_178, 26_579_968),
    "mini_inception-half":     (1_475_418, 1_482_570, 363_140_096),
    "mini_inception-zhang2017": (1_652_826, 1_656_250, 204_219_680),
    "mini_resnet-he2016":      (269_722, 271_098, 40_551_040),
    "mini_resnet-20-B":        (272_474, 274_042, 40_813_184),
    "mini_resnet-56-A":        (853_018, 857_082, 125_485_696),
}
# fmt: on


def trainable(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_variables)


@pytest.fixture(scope="module")
def zoo():
    return {name: structure(name) for name in STRUCTURES}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(zoo, name):
    model = zoo[name]
    costs = macs(model).values()
    total = None if None in costs else sum(costs)
    assert (trainable(model), model.count_params(), total) == PUBLISHED[name]


# Option A, option B: trainable parameters, MACs.
# fmt: off
CIFAR = {
    20:   (   269_722,    40_551_040,    272_474,    40_813_184),
    32:   (   464_154,    68_862_592,    466_906,    69_124_736),
    44:   (   658_586,    97_174_144,    661_338,    97_436_288),
    56:   (   853_018,   125_485_696,    855_770,   125_747_840),
    110:  ( 1_727_962,   252_887_680,  1_730_714,   253_149_824),
    1202: (19_421_274, 2_829_238_912, 19_424_026, 2_829_501_056),
}
# fmt: on


@pytest.mark.parametrize(
    "depth", [20, 32, 44, 56, 110, pytest.param(1202, marks=pytest.mark.slow)]
)
def test_cifar_resnet_counts(depth):
    models = [skeleton("mini_resnet", depth=depth, shortcut=s) for s in ("A", "B")]
    found = [(trainable(model), sum(macs(model).values())) for model in models]
    assert (*found[0], *found[1]) == CIFAR[depth]


@pytest.mark.parametrize(
    ("size", "cost"), [(192, 418_121_728), (160, 290_675_200), (128, 186_400_768)]
)
def test_mobilenet_costs_by_resolution(size, cost):
    model = skeleton("mobilenet", input_shape=(size, size, 3))
    assert sum(macs(model).values()) == cost


BODY = {"include_top": False}
PAPER = {"variant": "paper"}
RGB = {"input_shape": (572, 572, 3)}
# fmt: off
ENDS = [  # trainable, total
    ("vgg16",        BODY, 14_714_688, 14_714_688),
    ("vgg19",        BODY, 20_024_384, 20_024_384),
    ("inception_v3", BODY, 21_768_352, 21_802_784),
    ("xception",     BODY, 20_806_952, 20_861_480),
    ("mobilenet",    BODY,  3_206_976,  3_228_864),
    ("unet", PAPER | {"classes": 1},       31_030_593, 31_030_593),
    ("unet", PAPER | {"classes": 1} | RGB, 31_031_745, 31_031_745),
    ("unet", PAPER | RGB,                  31_031_810, 31_031_810),
    ("unet", {"classes": 1, "input_shape": (256, 256, 3)}, 31_037_633, 31_049_409),
]
# fmt: on


@pytest.mark.parametrize(("builder", "arguments", "weights", "total"), ENDS)
def test_counts_without_top_and_with_other_ends(builder, arguments, weights, total):
    model = skeleton(builder, **arguments)
    assert (trainable(model), model.count_params()) == (weights, total)


def test_parts_of_lenet(zoo):
    layers = zoo["lenet-paper"].layers
    counts = {layer.name: layer.count_params() for layer in layers if layer.weights}
    assert counts == {
        "c1": 156,
        "s2": 12,
        "c3": 1_516,
        "s4": 32,
        "c5": 48_120,
        "head_f6": 10_164,
        "head_predictions": 840,
    }


def test_parts_of_alexnet(zoo):
    counts = {}
    for layer in zoo["alexnet-paper"].layers:
        part = layer.name.split("_tower")[0]
        counts[part] = counts.get(part, 0) + layer.count_params()
    assert [count for count in counts.values() if count] == [
        34_944,
        307_456,
        885_120,
        663_936,
        442_624,
        37_752_832,
        16_781_312,
        4_097_000,
    ]


def test_catalogue_states_what_is_built():
    for name, entry in CATALOG.items():
        for variant, form in entry.variants.items():
            assert (form.trainable, form.total, form.macs) == PUBLISHED[
                f"{name}-{variant}"
            ]


def test_every_public_builder_is_in_the_catalogue():
    builders = {
        name
        for name in convzoo.__all__
        if name != "blocks"
        and "classifier_activation"
        in inspect.signature(getattr(convzoo, name)).parameters
    }
    assert builders == set(CATALOG)
    assert list_models() == list(CATALOG)
    assert list_models("VGG*") == ["vgg16", "vgg19"]
    for entry in CATALOG.values():
        module, function = entry.builder.split(":")
        assert getattr(convzoo, entry.name).__name__ == function
        assert module.startswith("convzoo.models.")


@pytest.mark.parametrize("name", STRUCTURES)
def test_golden_manifest(zoo, name):
    path = GOLDEN / f"{name}.txt"
    assert manifest(zoo[name]) == path.read_text(), "if meant, run scripts/golden"


def test_no_manifest_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(STRUCTURES)


@pytest.mark.parametrize("name", STRUCTURES)
def test_stages_cover_every_layer_once(zoo, name):
    model = zoo[name]
    table = stages(model)
    covered = [layer for stage in table for layer in stage.layers]
    assert sorted(covered) == sorted(layer.name for layer in model.layers)
    assert len({stage.name for stage in table}) == len(table)
    for stage in table:
        for block in stage.blocks:
            assert block.name.startswith(stage.name)
            assert all(layer.startswith(block.name) for layer in block.layers)
    for layer in model.layers:
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", layer.name)
        assert not isinstance(layer, keras.Model)


# Stage, stride at its end, blocks, height x width x channels at the default input (of
# U-Net "same": 256 pixels): the papers' tables and figures, arithmetic where a variant
# has no paper.
# fmt: off
VGG = ("block1 2 1 112x112x64", "block2 4 1 56x56x128", "block3 8 1 28x28x256",
       "block4 16 1 14x14x512", "block5 32 1 7x7x512", "head 32 1 1000")
GOOGLENET = (
    "conv1 2 1 112x112x64", "pool1 4 1 56x56x64", "conv2 4 1 56x56x192",
    "pool2 8 1 28x28x192",  "inception_3 8 2 28x28x480",
    "pool3 16 1 14x14x480", "inception_4 16 5 14x14x832",
    "pool4 32 1 7x7x832",   "inception_5 32 2 7x7x1024", "head 32 1 1000",
)
INCEPTION_V3 = (
    "conv_1 2 1 149x149x32", "conv_2 2 2 147x147x64", "pool_3 4 1 73x73x64",
    "conv_3 4 1 73x73x80",   "conv_4 4 1 71x71x192",  "pool_5 8 1 35x35x192",
    "mixed_5 8 3 35x35x288", "mixed_6 16 5 17x17x768", "mixed_7 32 3 8x8x2048",
    "head 32 1 1000",
)
RESNET = ("conv1 2 1 112x112x64", "pool1 4 1 56x56x64")
RESNET18 = (*RESNET, "conv2 4 2 56x56x64", "conv3 8 2 28x28x128",
            "conv4 16 2 14x14x256", "conv5 32 2 7x7x512", "head 32 1 1000")
RESNET34 = (*RESNET, "conv2 4 3 56x56x64", "conv3 8 4 28x28x128",
            "conv4 16 6 14x14x256", "conv5 32 3 7x7x512", "head 32 1 1000")
RESNET50 = (*RESNET, "conv2 4 3 56x56x256", "conv3 8 4 28x28x512",
            "conv4 16 6 14x14x1024", "conv5 32 3 7x7x2048", "head 32 1 1000")
RESNET101 = (*RESNET, "conv2 4 3 56x56x256", "conv3 8 4 28x28x512",
             "conv4 16 23 14x14x1024", "conv5 32 3 7x7x2048", "head 32 1 1000")
RESNET152 = (*RESNET, "conv2 4 3 56x56x256", "conv3 8 8 28x28x512",
             "conv4 16 36 14x14x1024", "conv5 32 3 7x7x2048", "head 32 1 1000")
XCEPTION = ("entry 16 4 19x19x728", "middle 16 8 19x19x728", "exit 32 2 10x10x2048",
            "head 32 1 1000")
MOBILENET = ("conv1 2 1 112x112x32", "stage1 2 1 112x112x64", "stage2 4 2 56x56x128",
             "stage3 8 2 28x28x256", "stage4 16 6 14x14x512", "stage5 32 2 7x7x1024",
             "head 32 1 1000")
LENET = ("c1 1 1 28x28x6", "s2 2 1 14x14x6", "c3 2 1 10x10x16", "s4 4 1 5x5x16",
         "c5 4 1 1x1x120", "head 4 1 10")
STAGES = {
    "lenet-modern": LENET,
    "lenet-paper": LENET,
    "alexnet-paper": (
        "conv1 4 3 55x55x96",   "pool1 8 2 27x27x96",      # two towers, then the LRN
        "conv2 8 3 27x27x256",  "pool2 16 2 13x13x256",
        "conv3 16 3 13x13x384", "conv4 16 2 13x13x384",    # joined before, and after 5
        "conv5 16 3 13x13x256", "pool5 32 1 6x6x256", "head 32 1 1000",
    ),
    "alexnet-torch": (
        "conv1 4 1 55x55x64",   "pool1 8 1 27x27x64",
        "conv2 8 1 27x27x192",  "pool2 16 1 13x13x192",
        "conv3 16 1 13x13x384", "conv4 16 1 13x13x256",
        "conv5 16 1 13x13x256", "pool5 32 1 6x6x256", "head 32 1 1000",
    ),
    "vgg16-plain": VGG,  "vgg16-bn": VGG,
    "vgg19-plain": VGG,  "vgg19-bn": VGG,
    "googlenet-paper": GOOGLENET,        "googlenet-torch": GOOGLENET,
    "inception_v3-keras": INCEPTION_V3,  "inception_v3-torch": INCEPTION_V3,
    "resnet18-v1": RESNET18,    "resnet18-v1.5": RESNET18,
    "resnet34-v1": RESNET34,    "resnet34-v1.5": RESNET34,
    "resnet50-v1": RESNET50,    "resnet50-v1.5": RESNET50,
    "resnet101-v1": RESNET101,  "resnet101-v1.5": RESNET101,
    "resnet152-v1": RESNET152,  "resnet152-v1.5": RESNET152,
    "xception-keras": XCEPTION,    "xception-torch": XCEPTION,
    "mobilenet-keras": MOBILENET,  "mobilenet-torch": MOBILENET,
    "unet-same": (
        "down1 2 1 128x128x64", "down2 4 1 64x64x128", "down3 8 1 32x32x256",
        "down4 16 1 16x16x512", "bottom 16 1 16x16x1024",
        "up4 8 1 32x32x512",    "up3 4 1 64x64x256",  "up2 2 1 128x128x128",
        "up1 1 1 256x256x64",   "head 1 1 256x256x2",
    ),
    "unet-paper": (
        "down1 2 1 284x284x64", "down2 4 1 140x140x128", "down3 8 1 68x68x256",
        "down4 16 1 32x32x512", "bottom 16 1 28x28x1024",
        "up4 8 1 52x52x512",    "up3 4 1 100x100x256",  "up2 2 1 196x196x128",
        "up1 1 1 388x388x64",   "head 1 1 388x388x2",
    ),
    "mini_vgg-rosebrock": ("block1 2 1 16x16x32", "block2 4 1 8x8x64", "head 4 1 10"),
    "mini_inception-half": (
        "conv1 1 1 32x32x96",  "inception_3 1 2 32x32x240",
        "pool3 2 1 16x16x240", "inception_4 2 5 16x16x416",
        "pool4 4 1 8x8x416",   "inception_5 4 2 8x8x512", "head 4 1 10",
    ),
    "mini_inception-zhang2017": (
        "conv1 1 1 28x28x96",         "inception_1 1 2 28x28x80",
        "inception_2 2 5 14x14x144",  "inception_3 4 3 7x7x336", "head 4 1 10",
    ),
    "mini_resnet-he2016": ("conv1 1 1 32x32x16", "conv2 1 3 32x32x16",
                           "conv3 2 3 16x16x32", "conv4 4 3 8x8x64", "head 4 1 10"),
}
# fmt: on


def size(model, stage, sources):
    """Return the height x width x channels a stage gives, AlexNet's towers as one."""
    read = {source for name in stage.layers for source in sources[name]}
    ends = [model.get_layer(name).output for name in stage.layers if name not in read]
    maps = [x for end in ends for x in (end if isinstance(end, list) else [end])]
    (sides,) = {tuple(x.shape[1:-1]) for x in maps}
    return "x".join(map(str, (*sides, sum(x.shape[-1] for x in maps))))


def test_every_variant_has_its_stage_table():
    variants = {name for name in STRUCTURES if name not in OPTIONS}
    assert set(STAGES) == variants | {"vgg16-bn", "vgg19-bn"}


@pytest.mark.parametrize("name", STAGES)
def test_stage_tables(name):
    model = structure(name)
    if name == "unet-same":
        model = skeleton("unet", input_shape=(256, 256, 1))
    sources = links(model)
    rows = [
        f"{stage.name} {stage.stride} {len(stage.blocks)} {size(model, stage, sources)}"
        for stage in stages(model)
    ]
    assert tuple(rows[1:]) == STAGES[name]
    assert rows[0].startswith("image 1 1 ")


def test_stages_survive_saving_and_renaming(tmp_path):
    model = convzoo.mini_resnet(name="mine")
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = convzoo.load_model(path)
    assert stages(loaded) == stages(model) == stages(skeleton("mini_resnet"))


def test_stages_refuse_what_has_none():
    with pytest.raises(ValueError, match=r"'Conv' states no stage"):
        stages(
            keras.Sequential(
                [keras.Input((8, 8, 3)), keras.layers.Conv2D(1, 1, name="Conv")]
            )
        )
    with pytest.raises(TypeError, match=r"Sequential keras.Model, found int: build"):
        stages(3)


def test_links_and_strides_of_other_models():
    image = keras.Input((8, 8, 3), name="image")
    shared = keras.layers.Conv2D(3, 3, 2, padding="same", name="shared")
    x = shared(shared(image)) * 2.0
    model = keras.Model(image, x)
    assert list(links(model)) == ["image", "shared", x._keras_history.operation.name]
    assert links(model)["shared"] == ("image", "shared")
    net = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.MaxPooling2D(2, name="pool1"),
            keras.layers.UpSampling2D(2, name="up1"),
        ]
    )
    assert [(s.name, s.stride) for s in stages(net)] == [("pool1", 2), ("up1", 1)]


# Strides and channels of timm's feature maps.
@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet50-v1", {2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048}),
        ("resnet18-v1", {2: 64, 4: 64, 8: 128, 16: 256, 32: 512}),
        ("vgg16-plain", {1: 64, 2: 128, 4: 256, 8: 512, 16: 512, 32: 512}),
        ("inception_v3-keras", {2: 64, 4: 192, 8: 288, 16: 768, 32: 2048}),
        ("xception-keras", {2: 64, 4: 128, 8: 256, 16: 728, 32: 2048}),
        ("mobilenet-keras", {2: 64, 4: 128, 8: 256, 16: 512, 32: 1024}),
        ("googlenet-paper", {2: 64, 4: 192, 8: 480, 16: 832, 32: 1024}),
        ("googlenet-torch-aux", {2: 64, 4: 192, 8: 480, 16: 832, 32: 1024}),
    ],
)
def test_taps(zoo, name, channels):
    model = zoo[name]
    found = {
        stride: model.get_layer(layer).output.shape[-1]
        for stride, layer in taps(model).items()
    }
    assert found == channels


def kinds(model, *names):
    """Return the classes of the layers between two layers, ends included."""
    order = list(links(model))
    first, last = (order.index(name) for name in names)
    return [type(model.get_layer(name)).__name__ for name in order[first : last + 1]]


def test_stride_stands_where_the_variant_has_it(zoo):
    def strides(name):
        return {
            part: zoo[name].get_layer(f"conv3_block1_{part}_conv").strides[0]
            for part in (0, 1, 2, 3)
        }

    assert strides("resnet50-v1") == {0: 2, 1: 2, 2: 1, 3: 1}
    assert strides("resnet50-v1.5") == {0: 2, 1: 1, 2: 2, 3: 1}
    assert strides("resnet152-v1.5") == {0: 2, 1: 1, 2: 2, 3: 1}


def test_lrn_stands_before_the_pool_in_alexnet_behind_it_in_googlenet(zoo):
    alexnet, googlenet = zoo["alexnet-paper"], zoo["googlenet-paper"]
    assert links(alexnet)["conv1_lrn"] == ("conv1_tower1", "conv1_tower2")
    assert links(alexnet)["pool1_tower1_pool"] == ("conv1_lrn",)
    assert links(alexnet)["conv2_tower2"] == ("pool1_tower2_pool",)
    assert links(alexnet)["conv4_tower1"] == ("conv3_tower1",)
    assert links(alexnet)["conv3_tower1"] == ("conv3_concat",)
    assert links(googlenet)["pool1_lrn"] == ("pool1_pool",)
    assert links(googlenet)["pool2_pad"] == ("conv2_lrn",)


def test_alexnet_has_maps_of_55(zoo):
    first = zoo["alexnet-paper"].get_layer("conv1_tower1").output.shape
    assert first == (None, 55, 55, 48)
    assert zoo["alexnet-torch"].get_layer("conv1").output.shape == (None, 55, 55, 64)


def test_xception_keeps_its_leading_relus(zoo):
    model = zoo["xception-keras"]
    sources = links(model)
    for block in ("entry_block3", "entry_block4", "exit_block13"):
        flow, before = sources[f"{block}_sep1_relu"], sources[f"{block}_shortcut_conv"]
        assert flow == before  # the shortcut reads the map before the ReLU
        assert sources[f"{block}_sep1_conv"] == (f"{block}_sep1_relu",)
    for i in range(5, 13):
        assert sources[f"middle_block{i}_sep1_conv"] == (f"middle_block{i}_sep1_relu",)
    # Block 2 starts from the stem's ReLU and has none of its own.
    assert sources["entry_block2_sep1_conv"] == ("entry_block1_conv2_relu",)
    assert sources["entry_block2_shortcut_conv"] == ("entry_block1_conv2_relu",)


def test_order_inside_the_blocks(zoo):
    assert kinds(
        zoo["mobilenet-keras"], "stage2_block1_dw_pad", "stage2_block1_pw_relu"
    ) == [
        "ZeroPadding2D",
        "DepthwiseConv2D",
        "BatchNormalization",
        "Activation",
        "Conv2D",
        "BatchNormalization",
        "Activation",
    ]
    assert kinds(zoo["mini_vgg-rosebrock"], "block1_conv1", "block1_dropout") == [
        "Conv2D",
        "BatchNormalization",
        "Conv2D",
        "BatchNormalization",
        "MaxPooling2D",
        "Dropout",
    ]
    sources = links(zoo["resnet50-v1"])
    assert sources["conv2_block2_out"] == ("conv2_block2_add",)
    assert sources["conv2_block2_add"] == ("conv2_block1_out", "conv2_block2_3_bn")


def test_inception_branches_are_concatenated_in_the_papers_order(zoo):
    sources = links(zoo["googlenet-paper"])["inception_4b_concat"]
    assert sources == tuple(
        f"inception_4b_{part}" for part in ("1x1", "3x3", "5x5", "pool_proj")
    )
    sources = links(zoo["inception_v3-keras"])
    assert sources["mixed_7c_concat"] == tuple(
        f"mixed_7c_{part}_relu"
        for part in (
            "1x1",
            "3x3_2a",
            "3x3_2b",
            "3x3dbl_3a",
            "3x3dbl_3b",
            "pool_proj",
        )
    )
    # The doubled branch of module B starts with 7x1, the single one with 1x7.
    model = zoo["inception_v3-keras"]
    assert model.get_layer("mixed_6b_7x7_2_conv").kernel_size == (1, 7)
    assert model.get_layer("mixed_6b_7x7dbl_2_conv").kernel_size == (7, 1)


def test_dropout_rates_are_the_published_ones(zoo):
    rates = {
        name: [
            layer.rate
            for layer in model.layers
            if isinstance(layer, keras.layers.Dropout)
        ]
        for name, model in zoo.items()
        if name not in OPTIONS
    }
    assert {name: found for name, found in rates.items() if found} == {
        "alexnet-paper": [0.5, 0.5],
        "alexnet-torch": [0.5, 0.5],
        "vgg16-plain": [0.5, 0.5],
        "vgg19-plain": [0.5, 0.5],
        "googlenet-paper": [0.4],
        "googlenet-torch": [0.2],
        "inception_v3-keras": [0.2],
        "inception_v3-torch": [0.5],
        "xception-keras": [0.5],
        "xception-torch": [0.5],
        "mobilenet-keras": [0.001],
        "mobilenet-torch": [0.001],
        "unet-paper": [0.5, 0.5],
        "mini_vgg-rosebrock": [0.25, 0.25, 0.5],
        "mini_inception-half": [0.4],
    }


def test_structural_counts(zoo):
    def count(name, *classes):
        return sum(type(layer).__name__ in classes for layer in zoo[name].layers)

    assert count("vgg16-plain", "Conv2D") == 13
    assert count("vgg19-plain", "Conv2D") == 16
    assert count("inception_v3-keras", "Conv2D") == 94
    shortcuts = 4
    convolutions = count("xception-keras", "Conv2D", "SeparableConv2D") - shortcuts
    assert convolutions == 36
    assert count("mobilenet-keras", "Conv2D", "DepthwiseConv2D", "Dense") == 28
    assert count("unet-paper", "Conv2D", "Conv2DTranspose") == 23


def test_only_the_named_variants_need_layers_of_the_zoo(zoo):
    own = {
        name
        for name, model in zoo.items()
        if any(type(layer).__module__ == "convzoo.layers" for layer in model.layers)
    }
    assert own == {
        "alexnet-paper",
        "googlenet-paper",
        "googlenet-paper-aux",
        "lenet-paper",
        "mini_resnet-he2016",
        "mini_resnet-56-A",
        "unet-same",
    }


@pytest.mark.slow
def test_the_deepest_network_is_saved_and_opened(tmp_path):
    model = convzoo.mini_resnet(depth=1202)
    model.save(tmp_path / "deep.keras")
    loaded = convzoo.load_model(tmp_path / "deep.keras")
    assert [layer.name for layer in loaded.layers] == [x.name for x in model.layers]
