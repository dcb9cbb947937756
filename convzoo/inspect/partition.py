"""Order and gather the calls of a network so that no two boxes need each other."""

from __future__ import annotations

from collections.abc import Mapping

from convzoo.calls import Network, reachable

Groups = dict[str, tuple[str, ...]]  # name of a box to its calls


def acyclic(net: Network, keys: Mapping[str, str]) -> Groups:
    """Gather calls by key, and part those boxes that would need each other.

    Names of other libraries can scatter one word over a whole network; such a box falls
    into its connected pieces and, where that is not enough, into single layers.

    Returns:
        Box name to calls, both in the order of the data.
    """
    groups: Groups = {}
    for call in net.calls:
        groups[keys[call]] = (*groups.get(keys[call], ()), call)
    for part in (_pieces, _singles):
        tangled = _tangled(net, groups)
        groups = {
            name: calls
            for key, whole in groups.items()
            for name, calls in (
                part(net, key, whole) if key in tangled else {key: whole}
            ).items()
        }
    return _sorted(net, groups)


def _after(net: Network, groups: Groups) -> dict[str, list[str]]:
    """Return the boxes that read each box, in the order of the data."""
    home = {call: name for name, calls in groups.items() for call in calls}
    after: dict[str, dict[str, None]] = {name: {} for name in groups}
    for call, readers in net.readers.items():
        for reader in readers:
            if home[reader] != home[call]:
                after[home[call]][home[reader]] = None
    return {name: list(readers) for name, readers in after.items()}


def _tangled(net: Network, groups: Groups) -> set[str]:
    after = _after(net, groups)
    return {name for name in groups if name in reachable(after, name)}


def _pieces(net: Network, key: str, calls: tuple[str, ...]) -> Groups:
    """Part a box into its connected pieces; the first keeps the name."""
    inside = set(calls)
    near = {
        call: [
            other
            for other in (*net.readers[call], *net.sources_of(call))
            if other in inside
        ]
        for call in calls
    }
    left, pieces = dict.fromkeys(calls), []
    while left:
        start = next(iter(left))
        piece = reachable(near, start) | {start}
        pieces.append(tuple(call for call in left if call in piece))
        left = dict.fromkeys(call for call in left if call not in piece)
    return {key if not i else piece[0]: piece for i, piece in enumerate(pieces)}


def _singles(_: Network, __: str, calls: tuple[str, ...]) -> Groups:
    return {call: (call,) for call in calls}


def _sorted(net: Network, groups: Groups) -> Groups:
    """Order boxes so that sources come first and a chain stays together."""
    after = _after(net, groups)
    waiting = dict.fromkeys(groups, 0)
    for readers in after.values():
        for reader in readers:
            waiting[reader] += 1
    ready = [name for name in reversed(groups) if not waiting[name]]
    done: Groups = {}
    while ready:
        name = ready.pop()
        done[name] = groups[name]
        for reader in reversed(after[name]):
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return done
