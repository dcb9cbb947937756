import os
import re

import pytest
from loopback import Loopback

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give an empty cache, an empty home folder and no time to lose."""
    for name in list(os.environ):
        if re.search(r"proxy|^HF_|^TORCH_HOME|^XDG_|^KERAS_HOME|^CONVZOO_", name, re.I):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("CONVZOO_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("convzoo.pretrained.cache.PAUSES", (0.0, 0.0, 0.0))
    return tmp_path / "cache"


@pytest.fixture
def server(home, monkeypatch):  # noqa: ARG001 (which clears the environment first)
    """Give the server of which all published files are asked."""
    with Loopback() as loopback:
        monkeypatch.setenv("CONVZOO_MIRROR", loopback.url)
        yield loopback
