"""Diagrams: what stands in their boxes, how they are drawn, and how they fail."""

import io
import sys

import keras
import numpy as np
import pytest
from foreign_nets import small
from keras import layers
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch
from PIL import Image
from structure import skeleton

from convzoo.inspect import matplotlib_graph
from convzoo.inspect.cost import macs
from convzoo.inspect.dot import clusters_of
from convzoo.inspect.graph import model_graph
from convzoo.inspect.plot import plot_model
from convzoo.inspect.tables import summary

LEVELS = ("stage", "block", "layer")


@pytest.fixture
def bare(monkeypatch):
    """No dot command and no pygraphviz."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


# The graph


def test_a_block_is_a_box_and_equal_ones_are_one():
    nodes = model_graph(small()).nodes
    assert [(node.name, node.repeats) for node in nodes] == [
        ("image", 1),
        ("conv1", 1),
        ("conv2_block1..3", 3),
        ("head", 1),
    ]
    assert nodes[1].lines == ("3x3 conv 8, BN, ReLU",)
    assert nodes[2].lines == (
        "3x3 conv 8, ReLU6",
        "3x3 conv 8",
        "shortcut: identity",
        "add",
    )
    assert nodes[3].lines == ("global average pool", "dense 10, softmax")


def test_stages_list_their_blocks():
    nodes = {
        node.name: node for node in model_graph(skeleton("resnet50"), "stage").nodes
    }
    assert nodes["conv4"].lines == (
        "1x1 conv 256 /2 \N{RIGHTWARDS ARROW} 3x3 256 \N{RIGHTWARDS ARROW} 1x1 1024",
        "1x1 conv 256 \N{RIGHTWARDS ARROW} 3x3 256 \N{RIGHTWARDS ARROW} 1x1 1024  x5",
    )


def test_blocks_of_resnet50():
    nodes = model_graph(skeleton("resnet50")).nodes
    assert [node.name for node in nodes] == [
        "image",
        "conv1",
        "pool1",
        "conv2_block1",
        "conv2_block2..3",
        "conv3_block1",
        "conv3_block2..4",
        "conv4_block1",
        "conv4_block2..6",
        "conv5_block1",
        "conv5_block2..3",
        "head",
    ]
    assert nodes[5].lines == (
        "1x1 conv 128 /2, BN, ReLU",
        "3x3 conv 128, BN, ReLU",
        "1x1 conv 512, BN",
        "shortcut: 1x1 conv 512 /2, BN",
        "add, ReLU",
    )


def test_blocks_that_differ_in_size_stay_apart():
    nodes = model_graph(skeleton("googlenet")).nodes
    names = [node.name for node in nodes if node.name.startswith("inception_4")]
    assert names == [f"inception_4{letter}" for letter in "abcde"]


def test_blocks_that_shrink_their_map_stay_apart():
    x = image = keras.Input((9, 9, 4), name="image")
    for number, padding in enumerate(("same", "same", "valid", "valid"), 1):
        x = layers.Conv2D(4, 3, padding=padding, name=f"body_block{number}_conv")(x)
    nodes = model_graph(keras.Model(image, x)).nodes
    assert [node.name for node in nodes[1:]] == [
        "body_block1..2",
        "body_block3",
        "body_block4",
    ]


def test_branches_stand_one_to_a_line():
    nodes = {node.name: node for node in model_graph(skeleton("inception_v3")).nodes}
    arrow = " \N{RIGHTWARDS ARROW} "
    assert nodes["mixed_7b"].lines == (
        "1x1 conv 320",
        f"1x1 conv 384{arrow}1x3 384 | 3x1 384",
        f"1x1 conv 448{arrow}3x3 384{arrow}1x3 384 | 3x1 384",
        f"3x3 average pool{arrow}1x1 conv 192",
        "concat",
        "(each conv: BN, ReLU)",
    )


def test_middle_flow_is_one_box():
    model = skeleton("xception")
    nodes = {node.name: node for node in model_graph(model).nodes}
    arrow = " \N{RIGHTWARDS ARROW} "
    assert nodes["middle_block5..12"].gist == (
        f"3x3 separable conv 728{arrow}3x3 728{arrow}3x3 728",
    )
    assert nodes["middle_block5..12"].repeats == 8
    assert nodes["middle_block5..12"].lines[0] == "ReLU, 3x3 separable conv 728, BN  x3"


def test_long_boxes_leave_out_their_middle():
    x = image = keras.Input((4,), name="image")
    for number in range(1, 12):
        x = layers.Dense(number, name=f"body_{chr(96 + number)}_dense")(x)
    x = layers.Dense(2, name="head")(x)
    (_, body, _) = model_graph(keras.Model(image, x)).nodes
    assert len(body.lines) == 8
    assert body.lines[3:6] == (
        "dense 4",
        "\N{HORIZONTAL ELLIPSIS} 4 more \N{HORIZONTAL ELLIPSIS}",
        "dense 9",
    )


def test_skips_of_the_unet():
    graph = model_graph(skeleton("unet", variant="paper"))
    names = [node.name for node in graph.nodes]
    skips = {
        (names[e.source], names[e.target], e.shape[1]) for e in graph.edges if e.skip
    }
    assert skips == {
        ("down1", "up1", 568),
        ("down2", "up2", 280),
        ("down3", "up3", 136),
        ("down4", "up4", 64),
    }


def test_shapes_stand_where_they_change():
    graph = model_graph(skeleton("resnet50"))
    labelled = {graph.nodes[e.source].name: e.shape[1:] for e in graph.edges if e.label}
    assert labelled["conv3_block1"] == (28, 28, 512)
    assert "conv3_block2..4" not in labelled


def test_a_block_that_another_interrupts_falls_into_layers():
    image = keras.Input((4,), name="image")
    first = layers.Dense(4, name="a1_first")(image)
    between = layers.ReLU(name="b1_relu")(layers.Dense(4, name="b1_dense")(first))
    last = layers.Add(name="a1_last")([first, between])
    graph = model_graph(keras.Model(image, last))
    assert [node.name for node in graph.nodes] == [
        "image",
        "a1_first",
        "b1",
        "a1_last",
    ]
    assert [(e.source, e.target) for e in graph.edges if e.skip] == [(1, 3)]


# DOT and files


def test_same_model_same_bytes():
    first, second = plot_model(skeleton("googlenet")), plot_model(skeleton("googlenet"))
    assert first.dot == second.dot
    assert "0x" not in first.dot


def test_options_of_the_diagram():
    model = small()
    assert "16 x 16 x 8" in plot_model(model).dot
    assert "16 x 16 x 8" not in plot_model(model, show_shapes=False).dot
    unnamed = plot_model(model, show_layer_names=False).dot
    assert "conv2_block1" not in unnamed
    assert "(x3)" in unnamed
    assert "rankdir=LR" in plot_model(model, rankdir="LR").dot
    assert "cluster" in plot_model(model, level="layer").dot


def test_unknown_sides_are_question_marks():
    assert "? x ? x 1" in plot_model(skeleton("unet")).dot


def test_markup_in_names_is_escaped():
    image = keras.Input((4,), name='<b>&"image"')
    model = keras.Model(image, layers.Dense(2, name="a\\nb")(image))
    for level in LEVELS:
        assert b"&lt;b&gt;&amp;" in plot_model(model, level=level).render("svg")


@pytest.mark.parametrize(
    "name", ["a\\", '"', 'a\\"', "a\nb", "node", "<b", "<b>", "1a"]
)
def test_any_name_of_a_model_is_valid_dot(name):
    pygraphviz = pytest.importorskip("pygraphviz")
    image = keras.Input((4,))
    dot = plot_model(keras.Model(image, layers.Dense(2)(image), name=name)).dot
    assert pygraphviz.AGraph(string=dot).name == name.replace("\\", "\\\\")


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
@pytest.mark.parametrize("plain", [False, True])
def test_files(kind, plain, tmp_path, request):
    if plain:
        request.getfixturevalue("bare")
    file = tmp_path / f"model.{kind.upper()}"
    figure = plot_model(small(), file)
    assert bool(figure.hint) is plain
    start = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[kind]
    assert file.read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_dot_file(tmp_path):
    figure = plot_model(small())
    assert "<svg" in figure._repr_svg_()
    figure.save(tmp_path / "model.dot")
    assert (tmp_path / "model.dot").read_text("utf-8") == figure.dot


@pytest.mark.parametrize("rankdir", ["TB", "BT", "LR", "RL"])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.usefixtures("bare")
def test_matplotlib_draws_every_way(rankdir, level):
    figure = plot_model(skeleton("unet", variant="paper"), rankdir=rankdir, level=level)
    with Image.open(io.BytesIO(figure.render("png"))) as image:
        pixels = np.asarray(image.convert("RGB"))
    tall = pixels.shape[0] > pixels.shape[1]
    assert tall == (rankdir in ("TB", "BT"))
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    assert all((edge == 255).all() for edge in edges), "the picture is cut"
    assert (pixels < 100).all(axis=-1).any(), "no text"


@pytest.mark.parametrize("rankdir", ["TB", "BT", "LR", "RL"])
@pytest.mark.parametrize("name", ["mini_resnet", "googlenet"])
@pytest.mark.parametrize("show_shapes", [True, False])
def test_titles_of_frames_lie_on_no_box(name, rankdir, show_shapes):
    graph = model_graph(skeleton(name), "layer")
    options = {"show_shapes": show_shapes, "show_layer_names": True, "dpi": 72}
    figure = matplotlib_graph.draw(graph, rankdir=rankdir, **options).figure
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    frames = {title for title, members in clusters_of(graph) if len(members) > 1}
    titles = [
        text.get_window_extent(renderer)
        for text in axes.texts
        if text.get_text() in frames and text.get_weight() == "normal"
    ]
    boxes = [
        patch.get_window_extent(renderer)
        for patch in axes.findobj(FancyBboxPatch)
        if patch.get_zorder() == 2
    ]
    assert (len(titles), len(boxes)) == (len(frames), len(graph.nodes))
    assert not any(title.overlaps(box) for title in titles for box in boxes)


@pytest.mark.usefixtures("bare")
def test_matplotlib_draws_the_same_bytes():
    for kind in ("svg", "png", "pdf"):
        assert plot_model(small()).render(kind) == plot_model(small()).render(kind)


@pytest.mark.usefixtures("bare")
def test_matplotlib_draws_without_names():
    named, unnamed = (
        Image.open(io.BytesIO(plot_model(small(), show_layer_names=show).render("png")))
        for show in (True, False)
    )
    assert unnamed.height < named.height


@pytest.mark.skipif(sys.platform == "win32", reason="the command is a script")
@pytest.mark.parametrize("works", [True, False])
def test_dot_on_the_path_is_preferred(works, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    command = tmp_path / "dot"
    body = "import sys; print('drawn by dot', *sys.argv[1:]); sys.stdin.read()"
    body = body if works else "raise SystemExit(1)"
    command.write_text(f"#!{sys.executable}\n{body}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    figure = plot_model(small())
    assert figure.hint is None
    drawn = figure.render("svg").decode()
    assert drawn.startswith("drawn by dot -Kdot -Tsvg") is works
    assert ("<svg" in drawn) is not works
    assert (figure.hint is None) is works, "matplotlib drew"


@pytest.mark.skipif(sys.platform == "win32", reason="the command is a script")
@pytest.mark.parametrize(
    "content",
    [b"\x7fELF of another machine", b"#!/no/such/shell", b"#!/bin/sh\nexit 0"],
)
def test_a_dot_that_draws_nothing_is_passed_over(content, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    (tmp_path / "dot").write_bytes(content)
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    figure = plot_model(small())
    assert figure.render("png").startswith(b"\x89PNG")
    assert figure.hint.startswith("Drawn by matplotlib")


@pytest.mark.parametrize(
    "module",
    [
        "raise ImportError('libcgraph.so.6: cannot open shared object file')",
        "class AGraph:\n"
        "    def __init__(self, **_):\n"
        "        raise ValueError('Program dot not found in path.')\n",
    ],
)
def test_a_broken_pygraphviz_is_passed_over(module, tmp_path, monkeypatch):
    (tmp_path / "pygraphviz.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pygraphviz", raising=False)
    monkeypatch.setenv("PATH", "")
    figure = plot_model(small())
    assert b"<svg" in figure.render("svg")
    assert figure.hint.startswith("Drawn by matplotlib")
    sys.modules.pop("pygraphviz", None)


# Bad input


def test_unknown_words_are_answered_with_the_valid_ones(tmp_path):
    model = small()
    for explain in (plot_model, summary, model_graph):
        with pytest.raises(ValueError, match=r"level='blocks' .* did you mean 'block'"):
            explain(model, level="blocks")
        with pytest.raises(ValueError, match=r"'rows' .*: 'stage', 'block', 'layer'\."):
            explain(model, level="rows")
    with pytest.raises(ValueError, match=r"rankdir='tb' .*: 'TB', 'BT', 'LR', 'RL'\."):
        plot_model(model, rankdir="tb")
    for dpi in (0, True, 96.0):
        with pytest.raises(ValueError, match=rf"dpi must be a whole .* found {dpi}\."):
            plot_model(model, dpi=dpi)
    with pytest.raises(ValueError, match=r"must end in one of \.svg.*found '\.jpg'"):
        plot_model(model, tmp_path / "model.jpg")
    with pytest.raises(ValueError, match=r"found no suffix"):
        plot_model(model).save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"kind='gif' .*: 'svg', 'png', 'pdf', 'dot'"):
        plot_model(model).render("gif")
    assert not list(tmp_path.iterdir())


def test_unwritable_files(tmp_path):
    figure = plot_model(small())
    with pytest.raises(
        OSError, match=r"missing/model\.dot' cannot be written: No such"
    ):
        figure.save(tmp_path / "missing" / "model.dot")
    folder = tmp_path / "model.dot"
    folder.mkdir()
    with pytest.raises(OSError, match=r"model\.dot' cannot be written: Is a directory"):
        figure.save(folder)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_failed_drawing_leaves_the_old_file(tmp_path):
    file = tmp_path / "model.svg"
    file.write_text("old")
    with pytest.raises(TypeError):
        plot_model(keras.Sequential([layers.Dense(2)]), file)
    assert file.read_text() == "old"


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize("explain", [plot_model, summary, macs])
def test_models_without_a_graph(explain):
    with pytest.raises(TypeError, match=r"Sequential keras\.Model, found Subclassed"):
        explain(Subclassed())
    with pytest.raises(TypeError, match="without an input shape"):
        explain(keras.Sequential([layers.Dense(2)]))
