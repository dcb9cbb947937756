"""Damaged files by the ten thousand: each refused in one sentence, or loaded.

Every format has a process of its own (`hostile_files.py`), which must survive.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import hostile_files
import pytest
from hostile_files import FORMATS

pytestmark = pytest.mark.slow

AT_LEAST = 20_000
PROCESSES = 2
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Start the processes, some at a time; give what each will have printed."""

    def run(name):
        folder = tmp_path_factory.mktemp("files")
        command = [sys.executable, hostile_files.__file__, name, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done, [path.name for path in folder.iterdir()]

    with ThreadPoolExecutor(PROCESSES) as pool:
        yield {name: pool.submit(run, name) for name in FORMATS}


def found(runs, name):
    process, left = runs[name].result()
    assert process.returncode == 0, f"{name}, {left}: {process.stderr[-2000:]}"
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", FORMATS)
def test_no_damaged_file_does_harm(runs, name):
    report = found(runs, name)
    print(f"{name}: {report}")
    outcomes, files = report["outcomes"], FORMATS[name].files
    assert sum(outcomes.values()) == files
    # Neither out of reach of the damage nor broken before it matters.
    assert outcomes["refused"] > files / 4
    assert outcomes["loaded"] > files / 100
    assert report["seconds"] < 1
    assert report["memory"] < 4 * report["largest"] + 100 * MEGABYTE


def test_there_are_enough(runs):
    counts = {name: sum(found(runs, name)["outcomes"].values()) for name in FORMATS}
    print(f"{sum(counts.values())} damaged files: {counts}")
    assert sum(counts.values()) >= AT_LEAST
