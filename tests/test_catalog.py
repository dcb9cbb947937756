"""Choosing a model: by name, task, size, and in an order that helps."""

import json
import re

import pytest
from click.testing import CliRunner

from convzoo import list_models
from convzoo.catalog import CATALOG, SORTS, TASKS
from convzoo.cli import app
from convzoo.pretrained.records import RECORDS


def run(*arguments):
    return CliRunner().invoke(app, ["list", *arguments])


def listed(*arguments):
    """Return the names that the command prints."""
    return [entry["name"] for entry in json.loads(run(*arguments, "--json").stdout)]


def test_accuracies_are_those_of_the_records():
    for name, entry in CATALOG.items():
        published = [
            record.top1
            for record in RECORDS
            if (record.model, record.name) == (name, "imagenet")
            and entry.default in record.variants
        ]
        assert entry.top1 == max(filter(None, published), default=None), name


def test_tasks_are_those_of_the_entries():
    assert {entry.task for entry in CATALOG.values()} == set(TASKS)


def test_all_by_default_in_the_catalogues_order():
    assert list_models() == list(CATALOG)
    assert list_models("RESNET1*") == ["resnet18", "resnet101", "resnet152"]
    assert list_models("none") == []


def test_filters_add_up():
    assert list_models(task="segmentation") == ["unet"]
    assert list_models("*net", task="classification", max_parameters=1e6) == [
        "lenet",
        "mini_resnet",
    ]


def test_parameters_count_with_those_that_do_not_train():
    assert list_models("mobilenet", max_parameters=4_253_864) == ["mobilenet"]
    assert list_models("mobilenet", max_parameters=4_253_863) == []


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        (None, ["vgg16", "vgg19", "resnet18", "resnet50", "xception", "unet"]),
        ("name", ["resnet18", "resnet50", "unet", "vgg16", "vgg19", "xception"]),
        ("parameters", ["resnet18", "xception", "resnet50", "unet", "vgg16", "vgg19"]),
        ("macs", ["resnet18", "resnet50", "xception", "vgg16", "vgg19", "unet"]),
        ("year", ["vgg16", "vgg19", "unet", "resnet18", "resnet50", "xception"]),
        ("accuracy", ["xception", "resnet50", "vgg16", "vgg19", "resnet18", "unet"]),
    ],
)
def test_orders(sort, names):
    assert [name for name in list_models(sort=sort) if name in names] == names


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"task": "detection"}, "task='detection' is not known; .*'segmentation'"),
        (
            {"sort": "size"},
            "sort='size' is not known; accepted: 'parameters', .*'name'",
        ),
        ({"sort": ["name"]}, r"sort=\['name'\] is not known"),
        ({"max_parameters": "5M"}, "must be a number such as 5e6, found '5M'"),
        ({"max_parameters": True}, "found True"),
        ({"pattern": 3}, r"pattern must be a string such as 'resnet\*', found 3"),
    ],
)
def test_what_is_accepted_is_listed(filters, message):
    with pytest.raises(ValueError, match=message):
        list_models(**filters)


# The command


def test_flags_are_those_of_the_function():
    assert listed("--task", "segmentation") == ["unet"]
    assert listed("res*", "--sort", "accuracy") == list_models("res*", sort="accuracy")
    rows = run("res*", "--sort", "accuracy", "--max-parameters", "44.7M").stdout
    first_words = [row.split()[0] for row in rows.splitlines() if row.split()]
    assert [word for word in first_words if word in CATALOG] == [
        *("resnet101", "resnet50", "resnet34", "resnet18")
    ]
    assert "76.4%" in rows
    assert all(sort in run("--help").stdout for sort in SORTS)


@pytest.mark.parametrize("text", ["4253864", "4.253864M", "4_253_864", "4,253.864k"])
def test_numbers_with_units(text):
    assert listed("mobilenet", "--max-parameters", text) == ["mobilenet"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "detection"], "'detection' is not known; accepted: 'class"),
        (["--sort", "size"], "'size' is not known; accepted: 'parameters'"),
        (["--max-parameters", "5 MB"], "such as 5M, found '5 MB'"),
        (["--max-parameters", "-1"], "such as 5M, found '-1'"),
        (["vg*", "--task", "segmentation"], "segmentation leave no model of .*'vg"),
        (["--max-parameters", "1k"], "--max-parameters 1k leave no model"),
    ],
)
def test_misuse_is_one_sentence(arguments, words):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert re.search(words, result.stderr)
