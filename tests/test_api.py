"""The public face: names, imports, start-up, documentation."""

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import convzoo
from convzoo.catalog import CATALOG

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "convzoo"
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)

# Which part of the house may import which; these are the ground floor.
GROUND = {"arguments", "calls", "catalog", "deferred", "anatomy", "layers"}
ALLOWED = {
    "arguments": set(),
    "catalog": set(),
    "layers": set(),
    "collector": set(),
    "deferred": {"collector"},
    "calls": set(),
    "anatomy": {"calls"},
    "blocks": {"layers"},
    "pretrained": {"arguments", "catalog", "anatomy", "deferred", "layers"},
    "models": {"blocks", "pretrained", *GROUND},
    "terminal": {"pretrained", "catalog", "collector"},
    "inspect": {"blocks", "terminal", "models", "pretrained", *GROUND},
    "prediction": {"models", "pretrained", *GROUND},
    "evaluation": {"prediction", "models", "pretrained", *GROUND},
    "commands": {
        "inspect",
        "evaluation",
        "prediction",
        "pretrained",
        "terminal",
        *GROUND,
    },
    "cli": {
        "commands",
        "prediction",
        "inspect",
        "models",
        "pretrained",
        "terminal",
        *GROUND,
    },
}


def imported(path):
    """Return the modules of convzoo that a file imports, but for types alone."""
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "convzoo":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".")
            yield from parts[1:2] if parts[0] == "convzoo" else ()
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from (name[1] for name in names if name[0] == "convzoo" and name[1:])


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_imports_run_one_way(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part in {"__init__", "__main__"}:
        return
    rooms = {name for name in imported(path) if name in ALLOWED}
    assert rooms - {part} <= ALLOWED[part]


def test_every_room_has_its_rule():
    parts = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith("__")}
    assert parts - {"py", "weights"} == set(ALLOWED)


def test_public_names():
    fixed = {
        *CATALOG,
        *("list_models", "list_weights", "weights_info", "load_weights"),
        *("save_weights", "load_model", "predict", "stages"),
        *("feature_extractor", "feature_maps", "grad_cam"),
        *("plot_architecture", "plot_block", "plot_model", "plot_zoo"),
        *("summary", "blocks"),
    }
    assert set(convzoo.__all__) == fixed
    assert fixed <= set(dir(convzoo))
    for name in fixed:
        assert getattr(convzoo, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'resnet5'"):
        _ = convzoo.resnet5


def test_type_checkers_see_what_is_resolved_lazily():
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in block.body
        for alias in node.names
    }
    lazy = {name: f"convzoo.{home}.{name}" for name, home in convzoo._HOMES.items()}
    assert seen == {**lazy, "blocks": "convzoo.blocks"}


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_importing_convzoo_imports_no_keras():
    code = "import sys, convzoo; convzoo.list_models(); print('keras' in sys.modules)"
    assert python(code) == "False\n"


def test_importing_convzoo_after_keras_registers_its_layers():
    code = (
        "import keras, convzoo;"
        "print(keras.saving.get_registered_object('convzoo>RadialBasis').__name__)"
    )
    assert python(code) == "RadialBasis\n"


def test_functions_are_not_hidden_by_modules():
    code = (
        "import convzoo.anatomy, convzoo.prediction, convzoo.inspect.tables;"
        "from convzoo import predict, stages, summary;"
        "print(callable(predict), callable(stages), callable(summary))"
    )
    assert python(code) == "True True True\n"


@pytest.mark.parametrize("module", MODULES)
def test_doctests(module):
    if module == "convzoo.cli":
        return
    found = importlib.import_module(module)
    names = {name: getattr(convzoo, name) for name in convzoo.__all__}
    # Builders are wrapped, and doctest finds only what a module defines itself.
    results = doctest.testmod(found, extraglobs=names)
    assert results.failed == 0


def test_every_builder_shows_an_example_that_was_run():
    finder = doctest.DocTestFinder()
    shown = {
        name
        for name in CATALOG
        if any(test.examples for test in finder.find(getattr(convzoo, name), name))
    }
    assert shown == set(CATALOG)


@pytest.mark.parametrize("module", MODULES)
def test_what_is_public_is_documented(module):
    found = importlib.import_module(module)
    assert found.__doc__
    for name, value in vars(found).items():
        own = getattr(value, "__module__", None) == module
        if own and not name.startswith("_") and inspect.isroutine(value):
            assert value.__doc__, f"{module}.{name}"


@pytest.mark.parametrize("name", CATALOG)
def test_a_builders_docstring_is_complete(name):
    builder = getattr(convzoo, name)
    text = builder.__doc__
    assert str(CATALOG[name].year) in text or "no paper" in text.lower()
    assert "Returns:" in text
    reference = builder
    borrowed = re.search(r"as in `(\w+)`", text)
    if "Args:" not in text:
        reference = getattr(convzoo, borrowed[1])
    arguments = reference.__doc__.split("Args:")[1].split("Returns:")[0]
    for argument in inspect.signature(builder).parameters:
        assert f"        {argument}: " in arguments, argument


def test_builders_share_one_signature():
    shared = [
        *("weights", "variant", "include_top", "input_shape", "classes", "pooling"),
        *("dropout", "classifier_activation", "include_preprocessing", "input_tensor"),
    ]
    for name, entry in CATALOG.items():
        parameters = inspect.signature(getattr(convzoo, name)).parameters
        kinds = {parameter.kind for parameter in parameters.values()}
        assert kinds == {inspect.Parameter.KEYWORD_ONLY}
        assert list(parameters)[-1] == "name"
        assert parameters["name"].default == name
        if entry.task == "classification":
            assert list(parameters)[: len(shared)] == shared


def test_the_readme_shows_the_catalogue():
    script = [sys.executable, ROOT / "scripts" / "readme", "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_changelog_knows_the_version():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## {convzoo.__version__} " in text
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'\nversion = "{convzoo.__version__}"\n' in pyproject


def test_weights_have_model_cards():
    files = {path.stem for path in (ROOT / "weights").glob("*.safetensors")}
    cards = {path.stem for path in (ROOT / "weights").glob("*.md")}
    assert files == cards
    for stem in files:
        card = (ROOT / "weights" / f"{stem}.md").read_text("utf-8")
        variant = stem.split("-")[1]
        error = 1 - convzoo.weights_info("lenet", "mnist", variant).top1
        assert f"**{100 * error:.2f} %**" in card
        assert f"{100 * error:.2f} %" in (ROOT / "README.md").read_text("utf-8")


def test_links_of_the_documents_exist():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
