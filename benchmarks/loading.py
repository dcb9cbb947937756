"""Time and memory of building a network and loading its weights, against Keras' own.

    python benchmarks/loading.py [--backend tensorflow|jax|torch] [--runs 5]

Each run is a process of its own: after the imports it builds the network with random
weights saved by keras.applications in its own format, once by `convzoo`, once by
`keras.applications`, in turn. Printed are medians: seconds from the call to the model,
and the growth of the process's memory from before the call to its peak.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

NETWORKS = {"vgg16": "VGG16", "resnet50": "ResNet50"}

SAVE = """
import h5py, keras, numpy as np
from keras.src.legacy.saving import legacy_h5_format
model = keras.applications.{reference}(weights=None)
for weight in model.weights:
    weight.assign(np.random.default_rng(0).uniform(0.5, 1.5, weight.shape))
with h5py.File({path!r}, "w") as file:
    legacy_h5_format.save_weights_to_hdf5_group(file, model)
"""
# Linux counts a file's mapped pages as memory of the process, so they count here too.
MEASURE = """
import json, time
{imports}
import numpy as np
def memory(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024
def reset():
    open("/proc/self/clear_refs", "w").write("5")
keras.ops.convert_to_numpy(keras.ops.ones(3) + 1)
reset()
before, start = memory("VmRSS:"), time.perf_counter()
model = {call}
seconds = time.perf_counter() - start
peak = memory("VmHWM:") - before
print(json.dumps([seconds, peak]))
"""


def run(code: str, backend: str) -> str:
    """Run code in a process of its own and return what it prints last."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return (result.stdout.strip().splitlines() or [""])[-1]


def measure(backend: str, runs: int, folder: Path) -> None:
    """Measure every network, ours and theirs in turn, and print the medians."""
    for ours, reference in NETWORKS.items():
        path = str(folder / f"{ours}.h5")
        if not Path(path).exists():
            run(SAVE.format(reference=reference, path=path), "tensorflow")
        calls = {
            "convzoo": (
                "import convzoo, keras\nfrom convzoo import " + ours,
                f"{ours}(weights={path!r})",
            ),
            "keras.applications": (
                "import keras",
                f"keras.applications.{reference}(weights={path!r})",
            ),
        }
        found: dict[str, list[list[float]]] = {name: [] for name in calls}
        for _ in range(runs):
            for name, (imports, call) in calls.items():
                answer = run(MEASURE.format(imports=imports, call=call), backend)
                found[name].append(json.loads(answer))
        medians = {
            name: [statistics.median(column) for column in zip(*rows, strict=True)]
            for name, rows in found.items()
        }
        for name, (seconds, peak) in medians.items():
            print(f"{backend:10} {ours:8} {name:18} {seconds:6.2f} s {peak:6.0f} MB")
        own, theirs = medians["convzoo"], medians["keras.applications"]
        ratios = [a / b for a, b in zip(own, theirs, strict=True)]
        print(f"{backend:10} {ours:8} ratio {ratios[0]:18.0%} {ratios[1]:7.0%}")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options.backend, options.runs, Path(folder))


if __name__ == "__main__":
    main()
