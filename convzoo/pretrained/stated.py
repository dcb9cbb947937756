"""What convzoo's own files state of their model, held against the catalogue.

Builders take it at its word, and error messages repeat it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from convzoo.catalog import CATALOG
from convzoo.pretrained.readers.content import UnreadableError

_MOST = 1 << 12  # an option; the deepest network of the zoo has 1,202 layers
_MOST_CLASSES = 1 << 20
_MOST_PIXELS = 1 << 20  # of a side
_LONGEST = 64  # characters of an option


def stated(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the builder's arguments that a header states.

    Raises:
        UnreadableError: If no network of the zoo has them.
    """
    facts = {key: header[key] for key in _IS_SOUND if header.get(key) is not None}
    for key, value in facts.items():
        if not _IS_SOUND[key](value):
            raise UnreadableError(_unknown(key))
    variant = facts.get("variant")
    entry = CATALOG.get(facts.get("builder", ""))
    if variant is not None and (entry is None or variant not in entry.variants):
        raise UnreadableError(_unknown("variant"))
    return facts


def _unknown(key: str) -> str:
    return (
        f"a convzoo file whose {key} no network of this convzoo has (if another "
        "convzoo wrote it, install that one)"
    )


def _is_whole(value: Any, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _is_option(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST and value.isprintable()
    return value is None or (isinstance(value, int | float) and 0 <= value <= _MOST)


def _are_options(options: Any) -> bool:
    return isinstance(options, dict) and all(
        map(_is_option, (*options, *options.values()))
    )


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) == 3
        and all(side is None or _is_whole(side, _MOST_PIXELS) for side in shape)
        and shape[-1] is not None
    )


def _is_scaling(scaling: Any) -> bool:
    """Tell a mean and a deviation by channel."""
    return (
        isinstance(scaling, list)
        and [type(values) for values in scaling] == [list, list]
        and all(type(value) in {int, float} for part in scaling for value in part)
        and all(map(math.isfinite, scaling[0]))
        and all(0 < value < math.inf for value in scaling[1])
        and all(scaling)
    )


_IS_SOUND: Mapping[str, Callable[[Any], bool]] = {
    "builder": lambda name: isinstance(name, str) and name in CATALOG,
    "variant": lambda name: isinstance(name, str),
    "options": _are_options,
    "classes": lambda count: _is_whole(count, _MOST_CLASSES),
    "input_shape": _is_shape,
    "scaling": _is_scaling,
}
