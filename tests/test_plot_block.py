"""Block diagrams against the papers' figures: boxes, ways, shapes, shortcuts, files."""

import cProfile
import functools
import importlib
import inspect
import io
import itertools
import os
import pkgutil
import re
import subprocess
import sys
from xml.etree import ElementTree

import keras
import numpy as np
import pytest
from keras import layers
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path
from PIL import Image
from tidy import assert_tidy

import convzoo
import convzoo.inspect.picture
from convzoo import blocks
from convzoo.blocks.encoder import expand
from convzoo.blocks.residual import conv_block, identity_block
from convzoo.calls import network
from convzoo.deferred import without_weights
from convzoo.inspect import plot
from convzoo.inspect.block import BLOCKS, block_names, plot_block
from convzoo.inspect.blocks_drawn import panels_drawn
from convzoo.inspect.blocks_drawn.captions import NO_GRAPHS
from convzoo.inspect.blocks_drawn.reading import is_identity
from convzoo.inspect.operations import shape_text
from convzoo.models.googlenet import SIDE_HEADS

SVG = "{http://www.w3.org/2000/svg}"

DIAGRAMS = [name for name in BLOCKS if name not in NO_GRAPHS]


@functools.cache
def traced(name):
    """Return a diagram and the code of all functions that its drawing called."""
    with cProfile.Profile() as profile:
        figure = plot_block(name)
    return figure, {entry.code for entry in profile.getstats()}


def diagram(name):
    return traced(name)[0]


@pytest.fixture
def bare(monkeypatch):
    """No dot command and no pygraphviz."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


def ways(figure):
    """Return, panel by panel, each way of the data as the lines of its boxes."""
    graph = figure.graph
    after = {}
    for edge in graph.edges:
        after.setdefault(edge.source, []).append(edge.target)
    starts = set(range(len(graph.nodes))) - {edge.target for edge in graph.edges}

    def walk(index):
        text = ", ".join(graph.nodes[index].lines)
        tails = [tail for end in after.get(index, ()) for tail in walk(end)]
        return [f"{text} > {tail}" for tail in tails] or [text]

    found = {}
    for start in sorted(starts):
        found.setdefault(graph.nodes[start].block, []).extend(walk(start))
    return found


def labels(figure):
    """Return the shapes beside the edges, by the first lines of their boxes."""
    nodes = figure.graph.nodes
    return {
        (nodes[e.source].lines[0], nodes[e.target].lines[0]): e.shape[1:]
        for e in figure.graph.edges
        if e.label
    }


# What the papers print; input and output are written once for all ways of a panel.
# fmt: off
MODULE_A = (
    "1x1 conv 64, BN, ReLU",
    "1x1 conv 48, BN, ReLU > {} conv 64, BN, ReLU",
    "1x1 conv 64, BN, ReLU > 3x3 conv 96, BN, ReLU > 3x3 conv 96, BN, ReLU",
    "3x3 average pool > 1x1 conv 64, BN, ReLU",
)
MODULES = {
    "naive_inception": {"": ("28 x 28 x 192", "28 x 28 x 416", (
        "1x1 conv 64, ReLU", "3x3 conv 128, ReLU", "5x5 conv 32, ReLU", "3x3 max pool",
    ))},
    "inception": {"": ("28 x 28 x 192", "28 x 28 x 256", (
        "1x1 conv 64, ReLU",
        "1x1 conv 96, ReLU > 3x3 conv 128, ReLU",
        "1x1 conv 16, ReLU > 5x5 conv 32, ReLU",
        "3x3 max pool > 1x1 conv 32, ReLU",
    ))},
    "inception_a": {
        "as released: module 5d": ("35 x 35 x 288", "35 x 35 x 288",
                                   [way.format("5x5") for way in MODULE_A]),
        "as in Figure 5, filters as released": (
            "35 x 35 x 288", "35 x 35 x 288", [way.format("3x3") for way in MODULE_A]
        ),
    },
    "inception_b": {"": ("17 x 17 x 768", "17 x 17 x 768", (
        "1x1 conv 192, BN, ReLU",
        "1x1 conv 128, BN, ReLU > 1x7 conv 128, BN, ReLU > 7x1 conv 192, BN, ReLU",
        "1x1 conv 128, BN, ReLU > 7x1 conv 128, BN, ReLU > 1x7 conv 128, BN, ReLU > "
        "7x1 conv 128, BN, ReLU > 1x7 conv 192, BN, ReLU",
        "3x3 average pool > 1x1 conv 192, BN, ReLU",
    ))},
    "inception_c": {"": ("8 x 8 x 1280", "8 x 8 x 2048", (
        "1x1 conv 320, BN, ReLU",
        "1x1 conv 384, BN, ReLU > 1x3 conv 384, BN, ReLU",
        "1x1 conv 384, BN, ReLU > 3x1 conv 384, BN, ReLU",
        "1x1 conv 448, BN, ReLU > 3x3 conv 384, BN, ReLU > 1x3 conv 384, BN, ReLU",
        "1x1 conv 448, BN, ReLU > 3x3 conv 384, BN, ReLU > 3x1 conv 384, BN, ReLU",
        "3x3 average pool > 1x1 conv 192, BN, ReLU",
    ))},
    "grid_reduction_a": {"": ("35 x 35 x 288", "17 x 17 x 768", (
        "3x3 conv 384 /2, BN, ReLU",
        "1x1 conv 64, BN, ReLU > 3x3 conv 96, BN, ReLU > 3x3 conv 96 /2, BN, ReLU",
        "3x3 max pool /2",
    ))},
    "grid_reduction_b": {"": ("17 x 17 x 768", "8 x 8 x 1280", (
        "1x1 conv 192, BN, ReLU > 3x3 conv 320 /2, BN, ReLU",
        "1x1 conv 192, BN, ReLU > 1x7 conv 192, BN, ReLU > 7x1 conv 192, BN, ReLU > "
        "3x3 conv 192 /2, BN, ReLU",
        "3x3 max pool /2",
    ))},
}
SEPARABLE = "ReLU, 3x3 separable conv {}, (depthwise, then 1x1), BN"
OTHERS = {
    "naive_grid_reduction": {
        "pool, then convolve": [
            "input, 35 x 35 x 320 > 3x3 max pool /2 > inception > output, 17 x 17 x 640"
        ],
        "convolve, then pool": [
            "input, 35 x 35 x 320 > inception > 3x3 max pool /2 > output, 17 x 17 x 640"
        ],
    },
    "auxiliary_2014": {
        f"on module {module}": [
            f"inception_{module}, 14 x 14 x {maps} > 5x5 average pool /3 > "
            "1x1 conv 128, ReLU > flatten > dense 1024, ReLU, dropout 0.7 > "
            "dense 1000, softmax > output, 1000"
        ]
        for module, maps in (("4a", 512), ("4d", 528))
    },
    "auxiliary_2015": {"": [
        "mixed_6e, 17 x 17 x 768 > 5x5 average pool /3 > 1x1 conv 128, BN, ReLU > "
        "5x5 conv 768, BN, ReLU > global average pool > dense 1000, softmax > "
        "output, 1000"
    ]},
    "identity_block": {
        "basic: ResNet-18 and 34": [
            "input, 56 x 56 x 64 > 3x3 conv 64, BN, ReLU > 3x3 conv 64, BN > "
            "add, ReLU > output, 56 x 56 x 64",
            "input, 56 x 56 x 64 > add, ReLU > output, 56 x 56 x 64",
        ],
        "bottleneck: ResNet-50 to 152": [
            "input, 56 x 56 x 256 > 1x1 conv 64, BN, ReLU > 3x3 conv 64, BN, ReLU > "
            "1x1 conv 256, BN > add, ReLU > output, 56 x 56 x 256",
            "input, 56 x 56 x 256 > add, ReLU > output, 56 x 56 x 256",
        ],
    },
    "conv_block": {
        f"{title} takes the step": [
            f"input, 56 x 56 x 256 > 1x1 conv 128{first}, BN, ReLU > "
            f"3x3 conv 128{second}, BN, ReLU > 1x1 conv 512, BN > "
            "add, ReLU > output, 28 x 28 x 512",
            "input, 56 x 56 x 256 > 1x1 conv 512 /2, BN > "
            "add, ReLU > output, 28 x 28 x 512",
        ]
        for title, first, second in (
            ("v1: the first 1x1", " /2", ""), ("v1.5: the 3x3", "", " /2"),
        )
    },
    "shortcut_options": {
        title: [
            "input, 56 x 56 x 64 > 3x3 conv 128 /2, BN, ReLU > 3x3 conv 128, BN > "
            "add, ReLU > output, 28 x 28 x 128",
            f"input, 56 x 56 x 64 > {shortcut} > add, ReLU > output, 28 x 28 x 128",
        ]
        for title, shortcut in (
            ("option A: zero channels", "pad to 128 /2, with zeros"),
            ("option B: projection", "1x1 conv 128 /2, BN"),
        )
    },
    "separable": {
        "entry and exit flow": [
            f"entry_block2, 74 x 74 x 128 > {SEPARABLE.format(256)} > "
            f"{SEPARABLE.format(256)} > 3x3 max pool /2 > "
            "add > to entry_block4, 37 x 37 x 256",
            "entry_block2, 74 x 74 x 128 > 1x1 conv 256 /2, BN > "
            "add > to entry_block4, 37 x 37 x 256",
        ],
        "middle flow, eight times": [
            f"entry_block4, 19 x 19 x 728 > {SEPARABLE.format(728)} > "
            f"{SEPARABLE.format(728)} > {SEPARABLE.format(728)} > "
            "add > to middle_block6, 19 x 19 x 728",
            "entry_block4, 19 x 19 x 728 > add > to middle_block6, 19 x 19 x 728",
        ],
    },
    "depthwise_separable": {
        "standard": ["input, 56 x 56 x 128 > 3x3 conv 128, BN, ReLU6 > "
                     "output, 56 x 56 x 128"],
        "depthwise separable": [
            "input, 56 x 56 x 128 > 3x3 depthwise conv, BN, ReLU6 > "
            "1x1 conv 128, BN, ReLU6 > output, 56 x 56 x 128"
        ],
    },
    "contract": {"": [
        "input, 572 x 572 x 1 > 3x3 conv 64, ReLU > 3x3 conv 64, ReLU > "
        "2x2 max pool /2 > to down2, 284 x 284 x 64",
        "input, 572 x 572 x 1 > 3x3 conv 64, ReLU > 3x3 conv 64, ReLU > "
        "to up1, 568 x 568 x 64",
    ]},
    "expand": {
        title: [
            "down1, 568 x 568 x 64 > crop, 88 pixels a side > concat > "
            "3x3 conv 64, ReLU > 3x3 conv 64, ReLU > to head, 388 x 388 x 64",
            f"up2, 196 x 196 x 128 > {up} > concat > "
            "3x3 conv 64, ReLU > 3x3 conv 64, ReLU > to head, 388 x 388 x 64",
        ]
        for title, up in (
            ("transposed", "2x2 transposed conv 64, up 2"),
            ("upsampled, as in the text", "upsample x2 > 2x2 conv 64"),
        )
    },
    "classifier_head": {"": [
        "input, 7 x 7 x 1024 > global average pool, dropout 0.4 > "
        "dense 1000, softmax > output, 1000"
    ]},
}
# fmt: on


@pytest.mark.parametrize("name", MODULES)
def test_branches_are_the_papers(name):
    assert ways(diagram(name)) == {
        title: [f"input, {read} > {way} > concat > output, {given}" for way in branches]
        for title, (read, given, branches) in MODULES[name].items()
    }


@pytest.mark.parametrize("name", OTHERS)
def test_boxes_are_the_papers(name):
    assert ways(diagram(name)) == OTHERS[name]


@pytest.mark.parametrize("build", ["googlenet", "inception_v3"])
def test_modules_are_named_as_what_reads_and_gives_such_maps(build):
    named = []
    for name, panels in MODULES.items():
        for title, (read, given, _) in panels.items():
            module = re.search(r"module (\d\w)", f"{title} {BLOCKS[name]}")
            if module and (BLOCKS[name].count("1512.00567") == (build != "googlenet")):
                named.append((module[1], read, given))
    with without_weights():
        net = network(getattr(convzoo, build)())
    prefix = {"googlenet": "inception_", "inception_v3": "mixed_"}[build]
    for module, read, given in named:
        calls = [c for c in net.calls if c.startswith(f"{prefix}{module}_")]
        assert shape_text(net.inputs_of(calls[0])[0]) == read, module
        assert module == "3a" or shape_text(net.output_of(calls[-1])) == given, module
    assert len(named) == (2 if build == "googlenet" else 5)


def test_every_name_is_checked_against_its_paper():
    assert {*MODULES, *OTHERS, *NO_GRAPHS} == set(block_names())


def test_side_heads_stand_where_the_networks_have_them():
    assert list(SIDE_HEADS) == ["inception_4a", "inception_4d"]
    assert "count 0.3 each" in BLOCKS["auxiliary_2014"]
    assert "counts 0.4" in BLOCKS["auxiliary_2015"]


# Shapes and shortcuts


def test_shapes_stand_where_the_map_changes():
    assert labels(diagram("inception_c")) == {}
    assert labels(diagram("grid_reduction_a")) == {
        ("3x3 conv 384 /2", "concat"): (17, 17, 384),
        ("3x3 conv 96 /2", "concat"): (17, 17, 96),
        ("3x3 max pool /2", "concat"): (17, 17, 288),
    }
    assert labels(diagram("conv_block")) == {
        ("1x1 conv 128 /2", "3x3 conv 128"): (28, 28, 128),
        ("3x3 conv 128 /2", "1x1 conv 512"): (28, 28, 128),
    }
    assert labels(diagram("contract")) == {
        ("3x3 conv 64", "3x3 conv 64"): (570, 570, 64)
    }


def test_shapes_can_be_left_out():
    assert "28 x 28 x 128" in diagram("conv_block").dot
    assert "28 x 28 x 128" not in plot_block("conv_block", show_shapes=False).dot


def test_identity_is_solid_and_projection_dotted():
    assert diagram("identity_block").dot.count("style=dotted") == 0
    assert diagram("identity_block").dot.count("label=identity") == 2
    for name in ("conv_block", "shortcut_options"):
        assert diagram(name).dot.count("style=dotted") == 4, name
        assert "identity" not in diagram(name).dot
    assert diagram("separable").dot.count("style=dotted") == 2
    assert diagram("separable").dot.count("label=identity") == 1


def test_the_shortcut_is_the_way_around_the_branch():
    graph = diagram("conv_block").graph
    skips = [
        (graph.nodes[e.source].lines[0], graph.nodes[e.target].lines[0])
        for e in graph.edges
        if e.skip
    ]
    assert skips == 2 * [("input", "1x1 conv 512 /2"), ("1x1 conv 512 /2", "add")]


def test_branches_of_equal_length_have_no_shortcut():
    def both(x, *, name):
        left = layers.Conv2D(4, 1, name=f"{name}_left")(x)
        right = layers.Conv2D(4, 3, padding="same", name=f"{name}_right")(x)
        return layers.Add(name=f"{name}_add")([left, right])

    graph = plot_block(both, input_shape=(8, 8, 4)).graph
    assert not any(edge.skip for edge in graph.edges)


def test_blocks_in_a_row_have_a_shortcut_each():
    def two(x, *, name):
        x = conv_block(x, 4, name=f"{name}1")
        return identity_block(x, 4, name=f"{name}2")

    figure = plot_block(two, input_shape=(8, 8, 4))
    assert figure.dot.count("style=dotted") == 2
    assert figure.dot.count("label=identity") == 1


def forked(x, *, name, last=True):
    """Return two branches side by side, joined and maybe mixed, as many maps as x."""
    width = x.shape[-1]
    left = layers.Conv2D(width // 2, 1, name=f"{name}_left")(x)
    right = layers.Conv2D(width // 2, 3, padding="same", name=f"{name}_right")(x)
    y = layers.Concatenate(name=f"{name}_concat")([left, right])
    return layers.Conv2D(width, 1, name=f"{name}_last")(y) if last else y


@pytest.mark.parametrize("last", [True, False])
def test_the_shortcut_around_a_branch_that_forks(last):
    def residual(x, *, name):
        y = forked(x, name=f"{name}_branch", last=last)
        return layers.Add(name=f"{name}_add")([y, x])

    figure = plot_block(residual, input_shape=(8, 8, 4))
    skips = [edge for edge in figure.graph.edges if edge.skip]
    assert [figure.graph.nodes[edge.source].lines[0] for edge in skips] == ["input"]
    assert figure.dot.count("label=identity") == 1


def test_a_projection_around_a_branch_that_forks():
    def residual(x, *, name):
        projected = layers.Conv2D(4, 1, name=f"{name}_short")(x)
        y = forked(x, name=f"{name}_branch")
        return layers.Add(name=f"{name}_add")([projected, y])

    figure = plot_block(residual, input_shape=(8, 8, 4))
    assert figure.dot.count("style=dotted") == 2
    assert sum(edge.skip for edge in figure.graph.edges) == 2


def test_a_shortcut_around_a_shortcut():
    def nested(x, *, name):
        y = identity_block(x, 1, name=f"{name}_inner")
        y = layers.Conv2D(4, 3, padding="same", name=f"{name}_conv")(y)
        return layers.Add(name=f"{name}_add")([y, x])

    figure = plot_block(nested, input_shape=(8, 8, 4))
    assert figure.dot.count("label=identity") == 2


def test_two_tensors_have_no_shortcut():
    def two(x, y, *, name):
        return layers.Add(name=f"{name}_add")([forked(x, name=name), y])

    graph = plot_block(two, input_shape=[(8, 8, 4), (8, 8, 4)]).graph
    assert not any(edge.skip for edge in graph.edges)


def test_szegedy_draws_upwards():
    upwards = {name for name in DIAGRAMS if diagram(name).rankdir == "BT"}
    assert upwards == {
        *("naive_inception", "inception", "inception_a", "inception_b", "inception_c"),
        *("naive_grid_reduction", "grid_reduction_a", "grid_reduction_b"),
        *("auxiliary_2014", "auxiliary_2015"),
    }


# The blocks of the library

DRAWN_IN = {
    "identity_block": ("identity_block", "basic", "bottleneck"),
    "conv_block": ("conv_block", "bottleneck", "projection"),
    "shortcut_options": ("conv_block", "basic", "projection", "padded"),
    "inception": ("inception", "max_pool"),
    "inception_a": ("inception_a", "average_pool"),
    "inception_b": ("inception_b",),
    "inception_c": ("inception_c",),
    "grid_reduction_a": ("grid_reduction_a",),
    "grid_reduction_b": ("grid_reduction_b",),
    "auxiliary_2014": ("auxiliary_2014",),
    "auxiliary_2015": ("auxiliary_2015",),
    "separable": ("separable",),
    "depthwise_separable": ("depthwise_separable", "depthwise", "convolution"),
    "contract": ("contract", "double_convolution"),
    "expand": ("expand", "up_convolution", "match_size"),
    "classifier_head": ("classifier_head", "drop"),
}
NO_BLOCK = {
    "rescaling": "one layer, which scales the image",
    "normalize": "the end of a convolution, in whose box it stands",
    "initializer": "a recipe for weights",
}


def public_functions():
    for module in pkgutil.iter_modules(blocks.__path__, "convzoo.blocks."):
        found = importlib.import_module(module.name)
        for name, function in inspect.getmembers(found, inspect.isfunction):
            if function.__module__ == module.name and not name.startswith("_"):
                yield name, function.__code__


def test_every_public_block_is_drawn():
    drawn = set(itertools.chain(*DRAWN_IN.values()))
    assert drawn | set(NO_BLOCK) == {name for name, _ in public_functions()}
    assert not drawn & set(NO_BLOCK)


@pytest.mark.parametrize("name", DRAWN_IN)
def test_diagrams_call_the_blocks_themselves(name):
    codes = traced(name)[1]
    called = {function for function, code in public_functions() if code in codes}
    assert set(DRAWN_IN[name]) <= called


# A block of one's own


def test_own_block():
    def mine(x, width, *, name):
        y = layers.Conv2D(width, 3, strides=2, name=f"{name}_conv")(x)
        y = layers.BatchNormalization(name=f"{name}_bn")(y)
        return layers.ReLU(name=f"{name}_relu")(y)

    figure = plot_block(mine, input_shape=(None, None, 3), width=5)
    assert ways(figure) == {
        "": ["input, ? x ? x 3 > 3x3 conv 5 /2, BN, ReLU > output, ? x ? x 5"]
    }
    assert "<B>mine</B>" in figure.dot
    assert repr(figure) == "<Figure 'mine': 3 boxes>"


def test_own_block_of_two_tensors():
    shapes = [(28, 28, 1024), (64, 64, 512)]
    figure = plot_block(expand, input_shape=shapes, filters=512, crop="skip")
    assert ways(figure)[""] == [
        "skip, 64 x 64 x 512 > crop, 4 pixels a side > concat > "
        "3x3 conv 512, ReLU > 3x3 conv 512, ReLU > output, 56 x 56 x 512",
        "x, 28 x 28 x 1024 > 2x2 transposed conv 512, up 2 > concat > "
        "3x3 conv 512, ReLU > 3x3 conv 512, ReLU > output, 56 x 56 x 512",
    ]


def test_shapes_may_be_numbers_of_numpy():
    figure = plot_block(add_all, input_shape=2 * [tuple(np.array([8, 8, 4]))])
    assert figure.dot == plot_block(add_all, input_shape=2 * [(8, 8, 4)]).dot


def add_all(*xs, name):
    return layers.Add(name=name)(list(xs))


def places(figure):
    """Return by its first line where each box stands from left to right."""
    found = {}
    for part in ElementTree.fromstring(figure.render("svg")).iter(f"{SVG}g"):
        if part.get("class") == "node" and part.find(f"{SVG}text") is not None:
            text = part.find(f"{SVG}text")
            found.setdefault(text.text, []).append(float(text.get("x")))
    return found


def test_inputs_stand_in_the_order_of_the_arguments(monkeypatch):
    pytest.importorskip("pygraphviz")
    monkeypatch.setenv("PATH", "")
    found = places(plot_block(add_all, input_shape=4 * [(8, 8, 4)]))
    assert [*found["xs1"], *found["xs2"], *found["xs3"], *found["xs4"]] == sorted(
        x for name, xs in found.items() if name.startswith("xs") for x in xs
    )
    found = places(plot_block("expand"))
    for skip, up in zip(found["down1"], found["up2"], strict=True):
        assert skip < up


def test_own_block_with_bound_arguments():
    bound = functools.partial(identity_block, width=4)
    assert plot_block(bound, input_shape=(8, 8, 16)).graph.name == "identity_block"


def test_own_block_of_any_number_of_tensors():
    def total(*maps, name, **options):
        assert not options
        return layers.Add(name=name)(maps)

    figure = plot_block(total, input_shape=3 * [(8, 8, 4)])
    assert ways(figure)[""] == [
        f"maps{i}, 8 x 8 x 4 > add > output, 8 x 8 x 4" for i in (1, 2, 3)
    ]


def test_own_block_with_a_name_of_its_own():
    seen = []

    def named(x, name):
        seen.append(name)
        return layers.ReLU(name=name)(x)

    plot_block(named, input_shape=(4,))
    plot_block(named, input_shape=(4,), name="mine")
    assert seen == ["block", "mine"]


def test_what_a_block_raises_is_its_own():
    def broken(x, *, name):
        raise KeyError(name, x.shape)

    with pytest.raises(KeyError, match="block"):
        plot_block(broken, input_shape=(4,))


def test_drawing_leaves_no_variables_behind():
    plot_block(identity_block, input_shape=(8, 8, 16), width=4)
    assert keras.layers.Dense(1)(keras.ops.ones((1, 2))).shape == (1, 1)


# Files, text and errors


def signature(content):
    return content.lstrip()[:4]


@pytest.mark.parametrize("name", ["conv_block", "c3"])
def test_files(tmp_path, name):
    for suffix, start in ((".svg", b"<?xm"), (".png", b"\x89PNG"), (".pdf", b"%PDF")):
        file = tmp_path / f"block{suffix}"
        plot_block(name, file)
        assert signature(file.read_bytes()) == start


@pytest.mark.usefixtures("bare")
def test_files_without_graphviz(tmp_path, caplog):
    figure = plot_block("conv_block", tmp_path / "block.dot")
    assert (tmp_path / "block.dot").read_text() == figure.dot
    assert "matplotlib" in figure.hint
    plot._tell_hint.cache_clear()
    figure.render("svg")
    assert figure.hint in caplog.text
    for kind, start in (("svg", b"<?xm"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        assert signature(figure.render(kind)) == start
    assert "<svg" in figure._repr_svg_()
    with pytest.raises(ValueError, match="kind='gif' is not known"):
        figure.render("gif")


@pytest.mark.usefixtures("bare")
def test_dpi_sets_the_pixels():
    def width(figure):
        return Image.open(io.BytesIO(figure.render("png"))).width

    for name in ("identity_block", "c3"):
        ratio = width(plot_block(name, dpi=192)) / width(plot_block(name, dpi=96))
        assert ratio == pytest.approx(2, abs=0.01)


def test_a_page_is_no_larger_than_a_machine_can_hold(monkeypatch):
    monkeypatch.setattr(convzoo.inspect.picture, "MOST_AREA", 10**6)
    content = plot_block("c3", dpi=100_000).render("png")
    width, height = Image.open(io.BytesIO(content)).size
    assert 0.99e6 < width * height < 1.01e6
    assert width / height == pytest.approx(440 / 263.7, rel=1e-2)


def test_the_page_of_graphviz_says_all(monkeypatch):
    pytest.importorskip("pygraphviz")
    monkeypatch.setenv("PATH", "")
    svg = ElementTree.fromstring(diagram("conv_block").render("svg"))
    texts = [node.text for node in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "Conv block"
    assert "He et al. 2015, arXiv:1512.03385, Figure 3, dotted shortcuts" in texts
    assert "v1.5: the 3x3 takes the step" in texts
    assert texts.count("1x1 conv 512 /2") == 2


@pytest.mark.usefixtures("bare")
def test_same_bytes_in_every_process():
    code = (
        "import sys\n"
        "sys.modules['pygraphviz'] = None\n"
        "from convzoo.inspect.block import plot_block\n"
        "figure = plot_block('inception_c')\n"
        "write = sys.stdout.buffer.write\n"
        "write(figure.render('dot') + figure.render('svg'))\n"
        "write(plot_block('overlap_tile').render('svg'))"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    figure, tile = diagram("inception_c"), plot_block("overlap_tile")
    here = figure.render("dot") + figure.render("svg") + tile.render("svg")
    assert elsewhere.stdout == here


@pytest.mark.parametrize("name", DIAGRAMS)
def test_matplotlib_keeps_texts_apart(name):
    figure = diagram(name)
    picture = panels_drawn.draw(
        figure.graph, figure.caption, figure.rankdir, show_shapes=True, dpi=96
    )
    assert_tidy(picture.figure)


@pytest.mark.parametrize(
    "name", ["conv_block", "grid_reduction_a", "grid_reduction_b", "identity_block"]
)
def test_matplotlib_writes_beside_the_edges(name):
    figure = diagram(name)
    drawn = panels_drawn.draw(
        figure.graph, figure.caption, figure.rankdir, show_shapes=True, dpi=96
    ).figure
    FigureCanvasAgg(drawn).draw()
    (axes,) = drawn.axes
    edges = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    beside = [text for text in axes.texts if text.get_ha() == "left"]
    labelled = [
        e for e in figure.graph.edges if e.label or is_identity(figure.graph, e)
    ]
    assert len(beside) == len(labelled) > 0
    for text, edge in itertools.product(beside, edges):
        span = text.get_window_extent()
        for line in edge.get_path().to_polygons(
            edge.get_transform(), closed_only=False
        ):
            assert not Path(line).intersects_bbox(span, filled=False), text


@pytest.mark.usefixtures("bare")
def test_matplotlib_leads_a_shortcut_past_the_branches():
    def residual(x, *, name):
        y = forked(x, name=f"{name}_branch")
        return layers.Add(name=f"{name}_add")([y, x])

    figure = plot_block(residual, input_shape=(8, 8, 4))
    drawn = panels_drawn.draw(figure.graph, "", "TB", show_shapes=True, dpi=96).figure
    edges = [e for e in drawn.axes[0].patches if isinstance(e, FancyArrowPatch)]
    for edge, patch in zip(figure.graph.edges, edges, strict=True):
        if edge.skip:
            rightmost = max(
                other.get_path().vertices[0, 0] for other in edges if other is not patch
            )
            assert patch.get_path().vertices[0, 0] >= rightmost


def test_names_need_no_keras():
    code = (
        "import sys\n"
        "from convzoo.inspect.block import block_names, plot_block\n"
        "assert 'inception_a' in block_names()\n"
        "try:\n    plot_block('inceptiom_a')\n"
        "except ValueError as error:\n    print(error)\n"
        "assert 'keras' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert done.stdout.startswith(
        "block='inceptiom_a' is not known, did you mean 'inception_a'?; accepted: 'c3',"
    )


def nothing(x, *, name):
    del name
    return x


def forgetful(x, *, name):
    del x, name


def stray(x, *, name):
    del x
    return keras.Input((4,), name=name)


# fmt: off
MISUSE = [
    ({"block": 3}, TypeError, "block must be a name or a block function, found int;"),
    ({"block": "c3", "to_file": "c3.dot"}, ValueError,
     "'c3.dot' must end in one of .svg, .png, .pdf, found '.dot'."),
    ({"block": "conv_block", "to_file": "a.gif"}, ValueError,
     "'a.gif' must end in one of .svg, .png, .pdf, .dot, found '.gif'."),
    ({"block": "inception_b", "width": 3}, TypeError,
     "takes no 'width': pass the function itself, as in plot_block"),
    ({"block": "inception_b", "input_shape": (8, 8, 4)}, TypeError,
     "block='inception_b' is drawn as published and takes no 'input_shape'"),
    ({"block": "inception_b", "dpi": 0}, ValueError, "dpi must be a whole number of"),
    ({"block": nothing}, ValueError, "input_shape=None must be the shape that"),
    ({"block": nothing, "input_shape": ()}, ValueError, r"input_shape=\(\) must be"),
    ({"block": nothing, "input_shape": "ab"}, ValueError, "input_shape='ab' must be"),
    ({"block": nothing, "input_shape": (8, -8, 4)}, ValueError, "must be the shape"),
    ({"block": nothing, "input_shape": (8, True, 4)}, ValueError, "must be the shape"),
    ({"block": stray, "input_shape": (4,)}, TypeError,
     "block stray must return a tensor made from what it is called on: .*connected"),
    ({"block": layers.ReLU(), "input_shape": (4,)}, TypeError,
     "block ReLU cannot be called with 1 tensor and name=: it is no function; give a"),
    ({"block": layers.Dense, "input_shape": (4,), "units": 3}, TypeError,
     "block Dense cannot be called with 1 tensor and name=, units=: it is no"),
    ({"block": lambda x: x, "input_shape": (4,)}, TypeError,
     "block <lambda> cannot .* got an unexpected keyword argument 'name'; give a"),
    ({"block": identity_block, "input_shape": (8, 8, 4)}, TypeError,
     "block identity_block cannot .*: missing a required argument: 'width'; give"),
    ({"block": max, "input_shape": (4,)}, TypeError, "block max cannot .*: no sign"),
    ({"block": lambda *, name: [name], "input_shape": (4,)}, TypeError,
     "cannot be called with 1 tensor and name=: too many positional arguments;"),
    ({"block": lambda x, name: (x, name), "input_shape": [(4,), (4,)]}, TypeError,
     "cannot be called with 2 tensors and name=: multiple values for argument 'name'"),
    ({"block": nothing, "input_shape": (8, 8, 4)}, ValueError,
     "block nothing adds no layer to its input: there is nothing to draw."),
    ({"block": forgetful, "input_shape": (8, 8, 4)}, TypeError,
     "block forgetful must return the tensor that it makes, found None."),
    ({"block": nothing, "input_shape": [(8, 4), (8, 4)]}, TypeError,
     "block nothing cannot be called with 2 tensors and name=: too many positional"),
    ({"block": identity_block, "input_shape": (8, 8, 4), "width": 4}, ValueError,
     "identity_block 'block' adds 16 channels to 4"),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "error", "message"), MISUSE)
def test_misuse_is_answered_in_a_sentence(arguments, error, message):
    with pytest.raises(error, match=message):
        plot_block(**arguments)


def test_an_unwritable_file(tmp_path):
    with pytest.raises(OSError, match="cannot be written: No such file"):
        plot_block("classifier_head", tmp_path / "missing" / "head.svg")
