"""The gallery of the documents: complete, linked and up to date."""

import importlib.util
import re
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from convzoo import lenet
from convzoo.catalog import CATALOG
from convzoo.deferred import without_weights
from convzoo.inspect.blocks_drawn.captions import BLOCKS
from convzoo.inspect.plot import plot_model
from convzoo.inspect.zoo import plot_zoo

SCRIPT = Path(__file__).parent.parent / "scripts" / "gallery"
FOLDER = SCRIPT.parent.parent / "docs" / "gallery"
FIGURES = {
    "zoo.svg",
    *(f"{kind}/{name}.svg" for kind in ("architectures", "graphs") for name in CATALOG),
    *(f"blocks/{name}.svg" for name in BLOCKS),
}


@pytest.fixture(scope="module")
def gallery():
    """Return scripts/gallery as a module."""
    spec = importlib.util.spec_from_loader(
        "gallery", SourceFileLoader("gallery", str(SCRIPT))
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_figure_is_there_and_on_the_page(gallery):
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    names = {str(path.relative_to(FOLDER)) for path in files}
    assert names == {"README.md", *FIGURES}
    assert sum(path.stat().st_size for path in files) < 3e6
    page = (FOLDER / "README.md").read_text("utf-8")
    assert page == gallery.page()
    shown = re.findall(r"^\[!\[[^\]]+\]\((\S+)\)\]\((\S+)\)$", page, re.MULTILINE)
    assert set(shown) == {(figure, figure) for figure in FIGURES}
    headings = re.findall(r"^### (.+)$", page, re.MULTILINE)
    assert headings == [*CATALOG, *BLOCKS]
    assert re.findall(r"\]\(#(\w+)\)", page) == headings
    for entry in CATALOG.values():
        for words in (entry.authors, entry.title, f", {entry.year}, "):
            assert words in page.split(f"\n### {entry.name}\n")[1].split("\n###")[0]
    assert "[arXiv:1512.03385](https://arxiv.org/abs/1512.03385)." in page
    assert "[doi:10.1109/5.726791](https://doi.org/10.1109/5.726791)." in page


def test_quick_figures_are_up_to_date(gallery):
    with without_weights():
        model = lenet(variant="paper")
    for name, picture in (("zoo", plot_zoo()), ("graphs/lenet", plot_model(model))):
        stored = (FOLDER / f"{name}.svg").read_bytes()
        assert gallery.said(stored) == gallery.said(picture.render("svg"))


def test_what_is_stale_is_found(gallery, tmp_path):
    svg = plot_zoo().render("svg")
    with without_weights():
        graph = plot_model(lenet()).render("svg")
    fresh = {"README.md": b"page", "zoo.svg": svg, "graphs/lenet.svg": graph}
    for name, content in fresh.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)

    def stale_with(name, content):
        old = (tmp_path / name).read_bytes() if (tmp_path / name).exists() else None
        (tmp_path / name).write_bytes(content)
        found = gallery.stale(tmp_path, fresh)
        if old is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(old)
        return found

    assert gallery.stale(tmp_path, fresh) == []
    moved = re.sub(rb'viewBox="[^"]*"', b'viewBox="0 0 9 9"', graph)
    moved = re.sub(rb'(<text [^>]*) x="[^"]*"', rb'\1 x="1"', moved)
    newer = re.sub(rb"graphviz version \S+", b"graphviz version 99", moved)
    assert newer != graph
    assert stale_with("graphs/lenet.svg", newer) == []
    assert stale_with("zoo.svg", svg.replace(b"Matplotlib v", b"Matplotlib v9")) == []
    for name, old, new in (
        ("README.md", b"page", b"pages"),
        ("zoo.svg", b"<!-- vgg16 -->", b"<!-- vgg17 -->"),
        ("zoo.svg", b"#abdeb7", b"#abdeb8"),
        ("graphs/lenet.svg", b">n1&#45;&gt;n2<", b">n1&#45;&gt;n3<"),
        ("graphs/lenet.svg", b"28 x 28 x 6", b"28 x 28 x 7"),
    ):
        assert old in fresh[name]
        assert stale_with(name, fresh[name].replace(old, new)) == [name]
    assert stale_with("graphs/old.svg", graph) == ["graphs/old.svg"]
    (tmp_path / "zoo.svg").unlink()
    assert gallery.stale(tmp_path, fresh) == ["zoo.svg"]


@pytest.mark.slow
def test_all_figures_are_up_to_date():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
