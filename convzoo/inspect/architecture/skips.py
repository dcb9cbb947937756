"""Links of a network that lead around a part of it, and what happens on their way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from convzoo.inspect.architecture.reading import Reading
from convzoo.inspect.architecture.steps import Path


class Skips(NamedTuple):
    """Links that give a merge what another of its sources was made from."""

    over: frozenset[tuple[int, int]]  # lower levels, from which the other comes up
    beside: frozenset[tuple[int, int]]  # steps of the same level or higher ones


def skips(whole: Path) -> Skips:
    """Return the links that lead around a way between the same steps."""
    before: list[set[int]] = [set() for _ in whole.steps]
    sources: list[list[int]] = [[] for _ in whole.steps]
    for source, target in sorted(whole.links, key=lambda link: link[1]):
        sources[target].append(source)
        before[target] |= before[source] | {source}
    over, beside = set[tuple[int, int]](), set[tuple[int, int]]()
    for source, target in whole.links:
        around = any(source in before[other] for other in sources[target])
        if around and whole.steps[target].kind == "merge":
            way = [step for step in before[target] if source in before[step]]
            deepest = max(whole.steps[step].stride for step in way)
            first, last = whole.steps[source].stride, whole.steps[target].stride
            (over if last <= first < deepest else beside).add((source, target))
    return Skips(frozenset(over), frozenset(beside))


def passed(reading: Reading, sources: Collection[int], target: int) -> list[Any]:
    """Return the layers without a bar on the way from one of the units to another."""
    place = {unit.call: index for index, unit in enumerate(reading.units)}
    for tensor in reading.net.calls[reading.units[target].call].sources:
        name, found = tensor.call, list[Any]()
        while name not in place:
            call = reading.net.calls[name]
            found.insert(0, call.layer)
            name = call.sources[0].call
        if place[name] in sources:
            return found
    return []


def crop_text(layers: Sequence[Any]) -> str:
    """Return how many pixels layers cut off at each side: ``crop 4``; "" if none."""
    cuts = [layer.cropping for layer in layers if "Cropping" in type(layer).__name__]
    if not cuts:
        return ""
    flat = [(pair,) if isinstance(pair[0], int) else pair for pair in cuts]
    ends = [[end for pair in pairs for end in pair] for pairs in flat]
    total = {sum(each) for each in zip(*ends, strict=True)}
    return "crop " + "-".join(map(str, sorted(total)))
