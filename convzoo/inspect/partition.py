"""Gather the calls of a network into boxes, by their names or else by their joins.

Names come first: a layer belongs to the stage and the block that its name states. Where
a name states nothing (``conv2d_7``), a word that no other layer has (``bn1``), or one
that is scattered over the network, the graph decides. All that lies between a fork and
the layer that joins its branches again is one box, if the branches are at most six
convolutions deep and hold no map coarser than the joined one: an inception module or a
residual unit is, a U-Net's half is not. What remains is a box for every operation, with
the padding before it and with the batch norm and the activation after it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from convzoo import calls
from convzoo.anatomy import address
from convzoo.calls import Call, Network, reachable
from convzoo.inspect import operations

_DEEPEST = 6  # convolutions and dense layers on the longest way through a fork
_WEIGHTED = (
    "convolution",
    "separable convolution",
    "transposed convolution",
    "dense",
    "model",
)
_FINISHED = (*operations.FOLLOWERS, "merge")  # what more norms and activations follow
_MARKED = re.compile(r"_(block|tower)\d+$")


class Key(NamedTuple):
    """What the calls of one box have in common."""

    title: str
    call: str  # that makes it a box, "" where the names of its layers do


Keys = dict[str, Key]  # of each call
Groups = dict[Key, tuple[str, ...]]  # the calls of each box, both in the data's order


def groups(net: Network, level: str) -> Groups:
    """Gather the calls of a network into boxes of which no two need each other.

    Args:
        net: The network.
        level: "stage" or "block".
    """
    titles = {
        name: _stated(name, level)
        for name, call in net.calls.items()
        if not named_by_keras(call)
    }
    layers = Counter(titles.values())
    lone = {
        name: Key(title, name)
        for name, title in titles.items()
        if layers[title] == 1 and not _MARKED.search(title)
    }
    stated = {name: Key(titles[name], "") for name in titles if name not in lone}
    inputs = {name for name, call in net.calls.items() if not call.sources}
    if len(set(stated.values())) == 1 and stated.keys() >= net.calls.keys() - inputs:
        stated = {}  # one name for all says nothing
    while True:
        keys = _completed(net, stated | _forks(net, stated, lone), lone)
        found = _gathered(keys)
        broken = (
            _interrupted(net, found)
            or _tangled(net, found)
            or (_scattered(net, found) if level == "block" else set())
        )
        if not broken:
            return _sorted(net, found)
        stated = {name: key for name, key in stated.items() if key not in broken}


def wiring(
    net: Network, members: Sequence[str]
) -> list[tuple[Any, list[tuple[int, int] | None]]]:
    """Return what each call of a box does, and by place which output of it each reads.

    Instead of an output of another box there is None.
    """
    place = {name: index for index, name in enumerate(members)}
    return [
        (
            operations.settings(net.calls[name].layer),
            [
                (place[source], slot) if source in place else None
                for source, slot in net.calls[name].sources
            ],
        )
        for name in members
    ]


def named_by_keras(call: Call) -> bool:
    """Tell ``conv2d_7``, which is no name that says anything."""
    if "#" in call.name:
        return True
    stem = re.sub(r"_\d+$", "", call.name).replace("_", "")
    return stem == type(call.layer).__name__.lower()


def _all_by_keras(net: Network, members: list[str]) -> bool:
    return all(named_by_keras(net.calls[call]) for call in members)


def _stated(name: str, level: str) -> str:
    """Return the stage or the block that a name states, also ``block_2`` for the rule.

    Of a name that does not follow the rule it is the first word.
    """
    usual = re.sub(r"(_block)_(\d+)", r"\1\2", name.lower())
    try:
        stage, block = address(usual)
    except ValueError:
        return re.split(r"[^A-Za-z0-9]", name.lstrip("_"))[0] or name
    return stage if level == "stage" else block


def _forks(net: Network, stated: Keys, lone: Keys) -> Keys:
    """Return the keys of what lies between forks and joins; the outermost wins."""
    above, strides = calls.dominators(net), calls.strides(net)
    members = _gathered(stated)
    keys: Keys = {}
    for join in net.calls:
        if len(net.sources_of(join)) < 2 or not above[join]:
            continue
        inside = _between(net, join, above[join])
        named = {stated[call] for call in inside if call in stated}
        loose = [call for call in inside if call not in stated]
        whole = all(set(members[key]) <= inside.keys() for key in named)
        if (
            loose
            and len(named) < 2
            and whole
            and (not named or join in stated or _all_by_keras(net, loose))
            and all(strides[call] <= strides[join] for call in inside)
            and _depth(net, inside) <= _DEEPEST
        ):
            key = named.pop() if named else Key(_title(net, join, inside, lone), join)
            keys |= dict.fromkeys(inside, key)
    return keys


def _between(net: Network, join: str, fork: str) -> dict[str, None]:
    """Return a join and what leads to nothing but it, back to where its data fork."""
    order = list(net.calls)
    ends = {tensor.call for tensor in net.outputs}
    inside = {join: None}
    for call in reversed(order[order.index(fork) + 1 : order.index(join)]):
        readers = net.readers[call]
        if readers and inside.keys() >= set(readers) and call not in ends:
            inside[call] = None
    return dict.fromkeys(reversed(inside))


def _depth(net: Network, inside: dict[str, None]) -> int:
    depth: dict[str, int] = {}
    for call in inside:
        before = [depth[source] for source in net.sources_of(call) if source in depth]
        own = _is_weighted(net.calls[call].layer)
        depth[call] = max(before, default=0) + own
    return max(depth.values())


def _is_weighted(layer: Any) -> bool:
    kind = operations.kind(layer)
    other = kind not in operations.FOLLOWERS and bool(getattr(layer, "weights", False))
    return kind in _WEIGHTED or other


def _title(net: Network, join: str, inside: dict[str, None], lone: Keys) -> str:
    """Name a box by what the names that people gave begin with, or by its join."""
    named = [call for call in inside if not named_by_keras(net.calls[call])]
    if len(named) == 1 and named[0] in lone:
        return lone[named[0]].title
    given = [name.split("_") for name in named]
    alike = takewhile(lambda words: len(set(words)) == 1, zip(*given, strict=False))
    return "_".join(words[0] for words in alike) or join


def _completed(net: Network, known: Keys, lone: Keys) -> Keys:
    """Give the calls that remain a box: their own, or that of what they belong to."""
    keys: Keys = {}
    ends = {tensor.call for tensor in net.outputs}
    for name, call in net.calls.items():
        keys[name] = known.get(name) or lone.get(name) or Key(name, name)
        sources = net.sources_of(name)
        follows = operations.kind(call.layer) in operations.FOLLOWERS
        if name not in known and follows and len(sources) == 1:
            (source,) = sources
            joins = name not in lone or _finished(net, source, keys, lone)
            passed = len(net.readers[source]) == 1 and source not in ends
            if joins and net.calls[source].sources and passed:
                keys[name] = keys[source]
    for name, call in net.calls.items():
        readers = net.readers[name]
        pads = name not in known and operations.is_padding(call.layer)
        if pads and len(readers) == 1:
            keys[name] = keys[readers[0]]
    return keys


def _finished(net: Network, source: str, keys: Keys, lone: Keys) -> bool:
    """Say whether what a name of its own follows is an operation that it finishes.

    The norm after DenseNet's last block is none of that block's.
    """
    kind = operations.kind(net.calls[source].layer)
    loose = source in lone or bool(keys[source].call)
    return kind in _WEIGHTED or (loose and kind in _FINISHED)


def _gathered(keys: Keys) -> Groups:
    found: dict[Key, list[str]] = {}
    for call, key in keys.items():
        found.setdefault(key, []).append(call)
    return {key: tuple(members) for key, members in found.items()}


def _interrupted(net: Network, found: Groups) -> set[Key]:
    """Find the names whose data leave their box and come back to it."""

    def leaves(members: tuple[str, ...]) -> Iterator[str]:
        for call in members:
            yield from (r for r in net.readers[call] if r not in members)

    return {
        key
        for key, members in found.items()
        if not key.call
        and any(
            not reachable(net.readers, outside).isdisjoint(members)
            for outside in dict.fromkeys(leaves(members))
        )
    }


def _scattered(net: Network, found: Groups) -> set[Key]:
    """Find the names of boxes whose calls are not joined, such as several heads."""

    def joined(members: set[str]) -> bool:
        ways = {
            call: members.intersection((*net.readers[call], *net.sources_of(call)))
            for call in members
        }
        start = next(iter(members))
        return {start, *reachable(ways, start)} == members

    return {
        key
        for key, members in found.items()
        if not key.call and not joined(set(members))
    }


def _tangled(net: Network, found: Groups) -> set[Key]:
    """Find the names of boxes that need each other."""
    place = {key: index for index, key in enumerate(found)}
    after = {
        place[key]: [place[reader] for reader in readers]
        for key, readers in _after(net, found).items()
    }
    return {
        key
        for key, index in place.items()
        if not key.call and index in reachable(after, index)
    }


def _after(net: Network, found: Groups) -> dict[Key, list[Key]]:
    """Return the boxes that read each box, in the order of the data."""
    home = {call: key for key, members in found.items() for call in members}
    after: dict[Key, dict[Key, None]] = {key: {} for key in found}
    for call, readers in net.readers.items():
        for reader in readers:
            if home[reader] != home[call]:
                after[home[call]][home[reader]] = None
    return {key: list(readers) for key, readers in after.items()}


def _sorted(net: Network, found: Groups) -> Groups:
    """Order boxes so that sources come first and a chain stays together."""
    after = _after(net, found)
    waiting = dict.fromkeys(found, 0)
    for readers in after.values():
        for reader in readers:
            waiting[reader] += 1
    ready = [key for key in reversed(found) if not waiting[key]]
    done: Groups = {}
    while ready:
        key = ready.pop()
        done[key] = found[key]
        for reader in reversed(after[key]):
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return done
