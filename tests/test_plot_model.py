"""Diagrams of the whole zoo: their size, their frames, and every way to draw them."""

import functools
import io
import shutil
import sys
import time

import pytest
from PIL import Image
from structure import skeleton as build

import convzoo
from convzoo.inspect import dot, plot
from convzoo.inspect.graph import model_graph
from convzoo.inspect.plot import plot_model

MOST_BOXES, LONGEST_SIDE = 40, 3000
CAIRO = 32_767  # pixels; Graphviz scales what is longer

skeleton = functools.cache(build)

RENDERERS = ["dot", "pygraphviz", "matplotlib"]


def draw_by(renderer, monkeypatch):
    """Leave one way to draw; where it is missing, skip."""
    if renderer == "dot" and not shutil.which("dot"):
        pytest.skip("Graphviz' command dot is not on the path")
    if renderer == "pygraphviz":
        pytest.importorskip("pygraphviz", reason="pygraphviz cannot be imported")
    if renderer != "dot":
        monkeypatch.setenv("PATH", "")
    if renderer != "pygraphviz":
        monkeypatch.setitem(sys.modules, "pygraphviz", None)
    if renderer != "matplotlib":  # which would step in
        monkeypatch.delattr(plot.Figure, "_drawn")


@pytest.fixture(params=RENDERERS)
def renderer(request, monkeypatch):
    draw_by(request.param, monkeypatch)
    return request.param


def size_of(png):
    with Image.open(io.BytesIO(png)) as image:
        return image.size


@pytest.mark.parametrize("name", convzoo.list_models())
@pytest.mark.usefixtures("renderer")
def test_every_builder_fits_a_page(name):
    model = skeleton(name)
    for level in ("stage", "block"):
        figure = plot_model(model, level=level)
        assert len(figure.graph.nodes) < MOST_BOXES
        assert max(size_of(figure.render("png"))) < LONGEST_SIDE


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("unet", {"variant": "paper"}),
        ("unet", {"input_shape": (None, None, 1)}),
        ("googlenet", {"aux": True}),
        ("inception_v3", {"aux": True}),
    ],
)
@pytest.mark.usefixtures("renderer")
def test_variants_fit_a_page(name, arguments):
    figure = plot_model(skeleton(name, **arguments))
    assert len(figure.graph.nodes) < MOST_BOXES
    assert max(size_of(figure.render("png"))) < LONGEST_SIDE


def test_resolution(renderer):
    model = skeleton("lenet")
    normal, fine, coarse = (
        size_of(plot_model(model, dpi=dpi).render("png")) for dpi in (96, 192, 48)
    )
    for side in (0, 1):
        assert fine[side] == pytest.approx(2 * normal[side], abs=4), renderer
        assert coarse[side] == pytest.approx(normal[side] / 2, abs=4), renderer


def test_pictures_too_large_are_drawn_coarser(renderer, monkeypatch):
    for module in ("plot", "picture"):
        monkeypatch.setattr(f"convzoo.inspect.{module}.MOST_AREA", 500_000)
    figure = plot_model(skeleton("lenet"), dpi=1000)
    wide, high = size_of(figure.render("png"))
    assert 470_000 < wide * high <= 500_000, renderer


def test_pictures_too_long_are_drawn_coarser(monkeypatch):
    draw_by("matplotlib", monkeypatch)
    figure = plot_model(skeleton("lenet"), rankdir="LR", dpi=20_000)
    monkeypatch.setattr("convzoo.inspect.picture._MOST_SIDE", 500)
    assert size_of(figure.render("png"))[0] == pytest.approx(500, abs=1)


# Layers


def test_equal_blocks_show_their_layers_once():
    model = skeleton("resnet152")
    drawn = plot_model(model, level="layer").graph
    blocks = dict(dot.clusters_of(drawn))
    assert "conv4_block2..36  x35" in blocks
    names = [drawn.nodes[i].name for i in blocks["conv4_block2..36  x35"]]
    assert names[0] == "conv4_block2_1_conv"
    assert names[-1] == "conv4_block2_out"
    assert len(names) == 10
    calls = [call for node in drawn.nodes for call in node.calls]
    assert sorted(calls) == sorted(layer.name for layer in model.layers)


def test_rows_of_layers_are_joined_at_their_ends():
    graph = plot_model(skeleton("resnet50"), level="layer").graph
    names = [node.name for node in graph.nodes]
    edges = {(names[e.source], names[e.target], e.link) for e in graph.edges}
    assert {edge for edge in edges if "conv4_block2_add" in edge} == {
        ("conv4_block2_3_bn", "conv4_block2_add", ""),
        ("conv4_block1_out", "conv4_block2_add", "residual connection"),
        ("conv4_block2_add", "conv4_block2_out", ""),
    }
    assert {target for source, target, _ in edges if source == "conv4_block2_out"} == {
        "conv5_block1_0_conv",
        "conv5_block1_1_conv",
    }


@pytest.mark.parametrize("level", ["stage", "block", "layer"])
def test_without_collapse_every_block_is_drawn(level):
    model = skeleton("resnet50")
    graph = plot_model(model, level=level, collapse=False).graph
    assert all(node.repeats == 1 for node in graph.nodes)
    assert len(graph.nodes) == {"stage": 8, "block": 20, "layer": 177}[level]


@pytest.mark.parametrize("name", ["googlenet", "resnet18", "unet"])
def test_graphviz_frames_the_layers_of_each_block(name):
    pygraphviz = pytest.importorskip("pygraphviz")
    figure = plot_model(skeleton(name), level="layer")
    read = pygraphviz.AGraph(string=figure.dot)  # its subgraphs do not keep it alive
    clusters = {
        frozenset(node for node in cluster.nodes() if not node.startswith("space"))
        for cluster in read.subgraphs()
    }
    assert clusters == {
        frozenset(f"n{index}" for index in members)
        for _, members in dot.clusters_of(figure.graph)
        if len(members) > 1
    }


@pytest.mark.parametrize("name", ["resnet152", "inception_v3"])
def test_the_longest_builders_are_not_scaled(name, monkeypatch):
    draw_by("pygraphviz", monkeypatch)
    png = plot_model(skeleton(name), level="layer").render("png")
    assert max(size_of(png)) < CAIRO / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", convzoo.list_models())
@pytest.mark.usefixtures("renderer")
def test_layers_of_every_builder_are_not_scaled(name):
    png = plot_model(skeleton(name), level="layer").render("png")
    assert max(size_of(png)) < CAIRO


@pytest.mark.slow
@pytest.mark.usefixtures("renderer")
def test_all_layers_of_inception_v3_take_less_than_five_seconds():
    model, taken = skeleton("inception_v3"), []
    for _ in range(3):
        start = time.perf_counter()
        plot_model(model, level="layer").render("png")
        taken.append(time.perf_counter() - start)
    assert min(taken) < 5, "the machine may be busy, but not each time"


# Links


def links(model, level="block"):
    graph = model_graph(model, level)
    names = [node.name for node in graph.nodes]
    return {(names[e.source], names[e.target]): e.link for e in graph.edges if e.link}


def test_the_paper_s_unet_copies_and_crops():
    model = skeleton("unet", variant="paper")
    assert links(model) == {
        (f"down{i}", f"up{i}"): "copy and crop" for i in range(1, 5)
    }
    ends = {1: "conv2", 2: "conv2", 3: "conv2", 4: "dropout"}
    assert links(model, "layer") == {
        (source, target): "copy and crop"
        for i, end in ends.items()
        for source, target in (
            (f"down{i}_{end}", f"up{i}_match_crop"),
            (f"up{i}_match_crop", f"up{i}_concat"),
        )
    }
    assert "copy and crop</TD>" in plot_model(model).dot


def test_a_unet_that_keeps_its_size_only_copies():
    model = skeleton("unet", input_shape=(32, 32, 1))
    assert set(links(model).values()) == {"skip connection"}


def test_residual_connections_of_layers():
    assert set(links(skeleton("mini_resnet"), "layer").values()) == {
        "residual connection"
    }
    assert set(links(skeleton("xception"), "layer").values()) == {"residual connection"}


def test_side_heads_leave_the_trunk():
    found = {
        ("inception_4a", "aux1"): "side head",
        ("inception_4d", "aux2"): "side head",
    }
    assert links(skeleton("googlenet", aux=True)) == found
    assert links(skeleton("inception_v3", aux=True)) == {
        ("mixed_6e", "aux"): "side head"
    }
    assert not links(skeleton("googlenet"))
    graph = model_graph(skeleton("googlenet", aux=True))
    told = [graph.nodes[e.target].name for e in graph.edges if e.label]
    assert "inception_4b" in told
    assert "aux1" not in told, "the trunk tells the shape"
