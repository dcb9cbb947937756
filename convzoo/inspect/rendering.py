"""Text in the DOT language rendered by Graphviz, where it is installed.

That is the ``dot`` command if it is on the path, else the copy inside pygraphviz. What
fails is passed over.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import shutil
from typing import Any

import graphviz

_GROUP = re.compile(rb'<g id="\w+" class="(?:node|graph)".*?(?=<g |</g>)', re.DOTALL)
_OUTLINE = re.compile(rb'<(?:path|polygon)[^>]* (?:d|points)="([^"]*)"')
_STARTING = re.compile(rb'text-anchor="start" x="[^"]*"')


def installed() -> bool:
    """Say whether there is anything to render with."""
    return shutil.which("dot") is not None or _pygraphviz() is not None


def render(text: str, kind: str) -> bytes | None:
    """Return a graph as the content of an svg, png or pdf file, None where that fails.

    Args:
        text: The graph in the DOT language.
        kind: The file's suffix.
    """
    content = _by_command(text, kind) or _by_pygraphviz(text, kind)
    return _centred(content) if content and kind == "svg" else content


def _by_command(text: str, kind: str) -> bytes | None:
    """Render by the command; an installation may lack what draws this kind of file."""
    missing = (graphviz.ExecutableNotFound, OSError)  # or of another architecture
    with contextlib.suppress(graphviz.CalledProcessError, *missing):
        return bytes(graphviz.Source(text).pipe(format=kind, quiet=True))
    return None


def _by_pygraphviz(text: str, kind: str) -> bytes | None:
    pygraphviz = _pygraphviz()
    if pygraphviz:
        # Before version 2 it needs the command and raises ValueError without.
        with contextlib.suppress(OSError, ValueError):
            return bytes(pygraphviz.AGraph(string=text).draw(format=kind, prog="dot"))
    return None


def _pygraphviz() -> Any | None:
    # Some of its builds look for a Graphviz that is not there.
    with contextlib.suppress(ImportError, OSError):
        return importlib.import_module("pygraphviz")
    return None


def _centred(svg: bytes) -> bytes:
    """Centre the lines of each box, and of a caption, by the reader's own font.

    Graphviz states where they start in the font that it measured.
    """
    return _GROUP.sub(lambda found: _centred_group(found[0]), svg)


def _centred_group(group: bytes) -> bytes:
    outlines = _OUTLINE.findall(group)
    if len(outlines) != 1:  # a legend's lines start beside its colours
        return group
    sides = [float(x) for x in re.findall(rb"(-?[\d.]+),", outlines[0])]
    middle = (min(sides) + max(sides)) / 2
    return _STARTING.sub(b'text-anchor="middle" x="%.2f"' % middle, group)
