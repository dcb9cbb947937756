"""Counts, shapes, names and order of layers, of every builder, variant and option."""

import inspect
import math
import re

import keras
import pytest
from structure import GOLDEN, OPTIONS, STRUCTURES, manifest, skeleton

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
    return {
        name: skeleton(builder, **arguments)
        for name, (builder, arguments) in STRUCTURES.items()
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(zoo, name):
    model = zoo[name]
    costs = macs(model).values()
    total = None if None in costs else sum(costs)
    assert (trainable(model), model.count_params(), total) == PUBLISHED[name]


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_cifar_resnet_counts(depth):
    sizes = {
        20: (269_722, 272_474, 40_551_040),
        32: (464_154, 466_906, 68_862_592),
        44: (658_586, 661_338, 97_174_144),
        56: (853_018, 855_770, 125_485_696),
        110: (1_727_962, 1_730_714, 252_887_680),
    }
    plain = skeleton("mini_resnet", depth=depth)
    projected = skeleton("mini_resnet", depth=depth, shortcut="B")
    cost = sum(macs(plain).values())
    assert (trainable(plain), trainable(projected), cost) == sizes[depth]


@pytest.mark.parametrize(
    ("size", "cost"), [(192, 418_121_728), (160, 290_675_200), (128, 186_400_768)]
)
def test_mobilenet_costs_by_resolution(size, cost):
    model = skeleton("mobilenet", input_shape=(size, size, 3))
    assert sum(macs(model).values()) == cost


@pytest.mark.parametrize(
    ("builder", "arguments", "count"),
    [
        ("vgg16", {"include_top": False}, 14_714_688),
        ("vgg19", {"include_top": False}, 20_024_384),
        ("inception_v3", {"include_top": False}, 21_768_352),
        ("unet", {"variant": "paper", "classes": 1}, 31_030_593),
        (
            "unet",
            {"variant": "paper", "classes": 1, "input_shape": (572, 572, 3)},
            31_031_745,
        ),
        ("unet", {"variant": "paper", "input_shape": (572, 572, 3)}, 31_031_810),
        ("unet", {"classes": 1, "input_shape": (256, 256, 3)}, 31_037_633),
    ],
)
def test_counts_without_top_and_with_other_ends(builder, arguments, count):
    assert trainable(skeleton(builder, **arguments)) == count


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


# Stage, stride at its end, number of blocks: the papers' tables.
STAGES = {
    "resnet50-v1": [
        ("conv1", 2, 1),
        ("pool1", 4, 1),
        ("conv2", 4, 3),
        ("conv3", 8, 4),
        ("conv4", 16, 6),
        ("conv5", 32, 3),
        ("head", 32, 1),
    ],
    "googlenet-paper": [
        ("conv1", 2, 1),
        ("pool1", 4, 1),
        ("conv2", 4, 1),
        ("pool2", 8, 1),
        ("inception_3", 8, 2),
        ("pool3", 16, 1),
        ("inception_4", 16, 5),
        ("pool4", 32, 1),
        ("inception_5", 32, 2),
        ("head", 32, 1),
    ],
    "xception-keras": [
        ("entry", 16, 4),
        ("middle", 16, 8),
        ("exit", 32, 2),
        ("head", 32, 1),
    ],
    "mobilenet-keras": [
        ("conv1", 2, 1),
        ("stage1", 2, 1),
        ("stage2", 4, 2),
        ("stage3", 8, 2),
        ("stage4", 16, 6),
        ("stage5", 32, 2),
        ("head", 32, 1),
    ],
    "unet-paper": [
        *[(f"down{i}", 2**i, 1) for i in (1, 2, 3, 4)],
        ("bottom", 16, 1),
        *[(f"up{i}", 2 ** (i - 1), 1) for i in (4, 3, 2, 1)],
        ("head", 1, 1),
    ],
}


@pytest.mark.parametrize("name", STAGES)
def test_stage_tables(zoo, name):
    rows = [(s.name, s.stride, len(s.blocks)) for s in stages(zoo[name])]
    assert rows == [("image", 1, 1), *STAGES[name]]


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
    with pytest.raises(TypeError, match=r"functional keras.Model, found int"):
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
    assert links(googlenet)["pool2_pool"] == ("conv2_lrn",)


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
