"""Tests of the garbage collector's pause, in processes that import Keras themselves."""

import gc
import json
import subprocess
import sys

import pytest

from convzoo.collector import collector_paused

# Prints how often all objects were searched while Keras was imported, and afterwards.
PROGRAM = """
import gc, json
from convzoo.terminal import quiet_keras
import convzoo
searched = 0
def count(phase, info):
    global searched
    searched += phase == "start" and info["generation"] == 2
gc.callbacks.append(count)
{importing}
print(json.dumps([searched, gc.isenabled(), gc.get_freeze_count() > 100_000]))
"""


@pytest.mark.parametrize(
    ("importing", "frozen"),
    [
        ("convzoo.resnet50", False),
        ("with quiet_keras('Building'): pass", True),
    ],
)
def test_keras_is_imported_without_searches_for_garbage(importing, frozen):
    program = PROGRAM.format(importing=importing)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, True, frozen]


@pytest.mark.parametrize("usual", [gc.enable, gc.disable])
def test_it_is_left_as_it_was(usual):
    try:
        usual()
        before = gc.isenabled()
        with pytest.raises(ZeroDivisionError), collector_paused():
            _ = 1 / 0
        assert gc.isenabled() is before
    finally:
        gc.enable()
