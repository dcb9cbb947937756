"""The examples, run as a reader runs them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent.parent / "examples"
pytestmark = pytest.mark.slow


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_own_network(tmp_path):
    out = run("own_network.py", "--plot", tmp_path / "net.svg")
    assert float(re.search(r"([\d.]+) % error", out)[1]) < 4
    assert (tmp_path / "net.svg").read_text("utf-8").count("inception_4a") >= 1


def blocks(count, random):
    """Return images whose class is the place of a block: two rows of five."""
    labels = random.integers(0, 10, count, dtype="uint8")
    images = np.zeros((count, 28, 28), "uint8")
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 5)
        image[4 + 12 * row :, 1 + 5 * column :][:8, :5] = 255
    return images, labels


@pytest.mark.parametrize("variant", ["modern", "paper"])
def test_train_lenet(variant, tmp_path):
    """The recipe on ten simple figures: the same script, files and report."""
    random = np.random.default_rng(0)
    images, labels = blocks(6000, random)
    others, answers = blocks(500, random)
    data = tmp_path / "mnist.npz"
    np.savez(data, x_train=images, y_train=labels, x_test=others, y_test=answers)
    out = run(
        "train_lenet.py",
        *("--variant", variant, "--data", data, "--out", tmp_path, "--epochs", 5),
    )
    report = json.loads(out.splitlines()[-1])
    assert Path(report["file"]).name == f"lenet-{variant}-mnist.safetensors"
    assert Path(report["file"]).is_file()
    # 75 steps; chance is 90 %, and 30 steps leave the paper's variant at 20 %.
    assert report["test"] < 2


def executed(name):
    """Run a notebook as Jupyter does; return its cells' results."""
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": EXAMPLES}}
    ).execute(env=dict(os.environ))
    outputs = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    assert not [o for o in outputs if o.output_type == "error"]
    return [o.data for o in outputs if o.output_type == "execute_result"]


def test_quickstart_notebook():
    shown = executed("quickstart.ipynb")
    assert sum("image/svg+xml" in data for data in shown) == 2
    assert any("<table" in data.get("text/html", "") for data in shown)
    assert shown[-1]["text/plain"] == str([str(digit) for digit in range(10)])


def test_look_inside_notebook():
    shown = executed("look_inside.ipynb")
    assert sum("image/svg+xml" in data for data in shown) == 16
    assert sum("image/png" in data for data in shown) == 16 + 3
    assert any("<table" in data.get("text/html", "") for data in shown)
    texts = [data["text/plain"] for data in shown]
    assert "{'v1': [483, 483], 'v1.5': [427, 427]}" in texts
    assert any("'s32': (7, 7, 2048)" in text for text in texts)
