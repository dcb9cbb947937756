"""Equal outputs without PyTorch and OpenCV: with what `scripts/expected_outputs` kept.

The live tests, marked torch and caffe, compare at full size and with calibrated batch
norm.
"""

import numpy as np
import pytest
from calibrated import difference
from drawn import scaled
from expected import FILE, STORED, builder, kept, load, write
from torch_nets import UNIT

import convzoo

ANSWERS, SHAPES = load()
CASES = [
    pytest.param(case, id=case.key, marks=pytest.mark.slow if case.slow else ())
    for case in STORED
]


@pytest.mark.parametrize("case", CASES)
def test_equals_what_was_stored(case, tmp_path):
    path = write(case, tmp_path / "weights", SHAPES.get(case.key))
    top = {"classifier_activation": None} if case.top else {"include_top": False}
    size = {"input_shape": (case.side, case.side, 3)}
    if builder(case) in {"googlenet", "inception_v3"}:
        size["aux"] = False  # the side heads ask for larger images
    ours = getattr(convzoo, builder(case))(weights=path, **top, **size)
    scaling = UNIT if case.container != "caffemodel" else ours.origin.scaling
    found = ours(scaled(case.pictures, scaling), training=False)
    error = difference(kept(found), ANSWERS[case.key])
    print(f"{case.key}: {error:.1e}")
    assert error <= 1e-4


def test_the_stored_answers_are_small_and_complete():
    assert FILE.stat().st_size < 200_000
    assert set(ANSWERS) == {case.key for case in STORED}
    assert all(np.isfinite(answer).all() for answer in ANSWERS.values())
