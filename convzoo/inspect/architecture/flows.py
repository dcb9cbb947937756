"""Flows as framed columns: Xception, Chollet, arXiv:1610.02357, Figure 5."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from convzoo.calls import Network
from convzoo.inspect import looks, operations
from convzoo.inspect.architecture.legend import Line, draw_legend
from convzoo.inspect.architecture.page import FAINT, TEXT, Page, Point, width_of
from convzoo.inspect.architecture.reading import Block, Reading, is_map, stage_of
from convzoo.inspect.architecture.steps import chain, path
from convzoo.inspect.operations import KINDS, shape_text

_FLOWS = ("entry", "middle", "exit")
_BOX, _STEP = 15.0, 6.0  # heights of a box and of the arrow before it
_WORDS = 7.0  # by which an arrow beside a map's size is longer
_ENTRY = 9.0  # from a block's start to its first arrow
_INSET = 16.0  # from a frame to what it holds
_SIDE = 14.0  # from the main path to the shortcuts
_LANE = 46.0  # between two frames
_NARROWEST = 150.0
_PLUS = 6.0  # radius of an addition
_UNDRAWN = ("normalization", "reshape", "regularization")


class _Ways(NamedTuple):
    """What a block does, once: its calls on the main path and on the shortcut."""

    main: list[str]
    short: list[str]
    adds: bool
    last: str  # the call that gives the block's map
    repeats: int
    news: tuple[str, ...]  # calls after which the map's size is written

    @property
    def height(self) -> float:
        ends = _ENTRY + _STEP + 2 * _PLUS if self.adds else 0.0
        repeated = _BOX if self.repeats > 1 else 0.0
        boxes = len(self.main) * (_BOX + _STEP) + len(self.news) * _WORDS
        return ends + boxes + 8.0 + repeated


def fits(reading: Reading) -> bool:
    """Tell a chain named by the three flows, of chains and of additions of two."""
    named = set(_FLOWS) <= reading.stages()
    if not named or not path(reading, merged=False).is_chain:
        return False
    in_order = [block for flow in _flows(reading).values() for block in flow]
    return in_order == list(reading.blocks) and all(
        _is_drawn(reading.net, _once(block)) for block in in_order
    )


def _is_drawn(net: Network, calls: Sequence[str]) -> bool:
    """Tell whether the ways to a block's end hold each of its calls once."""
    ways = _chains(net, calls)
    held = sorted(call for way in ways for call in way)
    links = [link for way in ways for link in pairwise(way)]
    return (
        held == sorted(calls[:-1] if _adds(net, calls) else calls)
        and len(ways) <= 2
        and all(net.sources_of(call) == (before,) for before, call in links)
        and all(len(net.sources_of(way[0])) <= 1 for way in ways if way)
    )


def draw(reading: Reading) -> Page:
    """Draw the flows side by side, each downwards."""
    page = Page()
    net = reading.net
    flows = [[_ways(net, block) for block in flow] for flow in _flows(reading).values()]
    left, before = 0.0, (0.0, 0.0)
    for number, ways in enumerate(flows):
        short = max((_width(net, way.short) for way in ways), default=0.0)
        main = max(_NARROWEST, *(_width(net, way.main) for way in ways))
        wide = main + 2 * _INSET + short + _SIDE
        x = left + wide - _INSET - main / 2
        bottom = 1.5 * _INSET + sum(way.height for way in ways)
        page.box(left, 0, wide, bottom, "#fafbfc", corner=8, zorder=0, kind="frame")
        title = f"{_FLOWS[number].capitalize()} flow"
        page.text(left + 4, -12, title, size=TEXT + 1, weight="bold", ha="left")
        if number:
            _lead(page, before, left - _LANE / 2, x)
        lane = x - main / 2 - _SIDE - short / 2
        y = _INSET / 2
        for way in ways:
            y = _draw_block(page, net, way, (x, y), main, lane)
        if number < len(flows) - 1:
            page.line([(x, y), (x, bottom)], kind="data", head=False)
        left, before = left + wide + _LANE, (x, bottom)
    calls = [call for ways in flows for way in ways for call in (*way.main, *way.short)]
    kinds = dict.fromkeys(operations.kind(net.calls[call].layer) for call in calls)
    styles = dict.fromkeys(
        bool(way.short) for ways in flows for way in ways if way.adds
    )
    lines = [Line(*_shortcut_look(projected)) for projected in styles]
    draw_legend(page, list(kinds), lines, _note(net))
    return page


def _flows(reading: Reading) -> dict[str, list[Block]]:
    """Return the blocks of each flow; image and head belong to the first and last."""
    flows: dict[str, list[Block]] = {name: [] for name in _FLOWS}
    now = _FLOWS[0]
    for block in reading.blocks:
        stage = stage_of(block.name)
        now = stage if stage in _FLOWS else now
        flows[now].append(block)
    return flows


def _once(block: Block) -> tuple[str, ...]:
    """Return the calls of a block, or of the first of equal ones."""
    return block.calls[: len(block.calls) // block.repeats]


def _adds(net: Network, calls: Sequence[str]) -> bool:
    return operations.operation(net.calls[calls[-1]].layer) == "add"


def _chains(net: Network, calls: Sequence[str]) -> list[list[str]]:
    """Return the ways to the end of a block, shortest first."""
    ends = net.sources_of(calls[-1]) if _adds(net, calls) else calls[-1:]
    return sorted((chain(end, calls, net.sources_of) for end in ends), key=len)


def _ways(net: Network, block: Block) -> _Ways:
    calls = _once(block)
    last = calls[-1]
    *others, main = (_drawn(net, way) for way in _chains(net, calls))
    if not _adds(net, calls):
        return _Ways(main, [], False, last, block.repeats, _news(net, main, last))
    return _Ways(main, others[0], True, last, block.repeats, ())


def _news(net: Network, main: Sequence[str], last: str) -> tuple[str, ...]:
    """Return the calls that give maps of a size that no later one has."""
    sizes = [net.output_of(call)[1:-1] for call in (*main, last)]
    return tuple(
        call
        for number, call in enumerate(main)
        if sizes[number] not in sizes[number + 1 :]
    )


def _drawn(net: Network, calls: Sequence[str]) -> list[str]:
    """Leave out norms, padding and dropout, as the figure does."""
    return [c for c in calls if operations.kind(net.calls[c].layer) not in _UNDRAWN]


def _text(net: Network, call: str) -> str:
    layer = net.calls[call].layer
    if operations.kind(layer) == "input":
        return f"input {shape_text(net.output_of(call))}"
    return operations.phrase(layer)


def _width(net: Network, calls: Sequence[str]) -> float:
    return max((width_of(_text(net, call)) + 14 for call in calls), default=0.0)


def _draw_block(
    page: Page, net: Network, way: _Ways, start: Point, wide: float, lane: float
) -> float:
    """Draw a block downwards from its start; return where it ends."""
    x, y = start
    if way.adds:
        page.line([(x, y), (x, y + _ENTRY)], kind="data", head=False)
        y += _ENTRY
    for call in way.main:
        if operations.kind(net.calls[call].layer) != "input":
            page.line([(x, y), (x, y + _STEP)], kind="data")
        y += _STEP
        _draw_box(page, net, call, x, y, wide)
        y += _BOX
        if call in way.news:
            page.line([(x, y), (x, y + _WORDS)], kind="data", head=False)
            words = shape_text(net.output_of(call))
            page.text(x + 9, y + 6, words, colour=FAINT, ha="left")
            y += _WORDS
    if way.adds:
        y = _draw_addition(page, net, way, (x, y), start[1] + _ENTRY / 2, lane)
    shape = net.output_of(way.last)
    if not is_map(shape):
        return y
    if operations.kind(net.calls[way.last].layer) != "input":
        page.text(x + 9, y + 6, shape_text(shape), colour=FAINT, ha="left")
    if way.repeats > 1:
        words = f"repeated {way.repeats} times"
        page.text(x + 9, y + 6 + _BOX, words, weight="bold", ha="left")
    end = start[1] + way.height
    page.line([(x, y), (x, end)], kind="data", head=False)
    return end


def _draw_box(
    page: Page, net: Network, call: str, x: float, y: float, wide: float
) -> None:
    colour = KINDS[operations.kind(net.calls[call].layer)]
    page.box(x - wide / 2, y, wide, _BOX, colour, corner=2.5, kind="cell")
    page.text(x, y + _BOX / 2, _text(net, call))


def _draw_addition(
    page: Page, net: Network, way: _Ways, end: Point, start: float, lane: float
) -> float:
    """Draw the shortcut around a block and the sum that ends it."""
    x, y = end
    page.line([(x, y), (x, y + _STEP)], kind="data")
    y += _STEP + _PLUS
    page.ring(x, y, _PLUS, KINDS["merge"])
    for ends in (((x - 3, y), (x + 3, y)), ((x, y - 3), (x, y + 3))):
        page.line(ends, kind="plus", head=False)
    around = [(x, start), (lane, start), (lane, y), (x - _PLUS, y)]
    name, colour, dashes = _shortcut_look(bool(way.short))
    page.line(around, kind=name.split()[0], colour=colour, dashes=dashes, zorder=1)
    height = len(way.short) * (_BOX + _STEP) - _STEP
    at = (start + y - height) / 2
    for call in way.short:
        _draw_box(page, net, call, lane, at, _width(net, [call]))
        at += _BOX + _STEP
    return y + _PLUS


def _shortcut_look(projected: bool) -> tuple[str, str, str]:
    if projected:
        return "projection shortcut", looks.SKIP, "dotted"
    return "identity shortcut", looks.SKIP, "solid"


def _lead(page: Page, start: Point, lane: float, x: float) -> None:
    """Lead the data from the end of a flow to the start of the next."""
    low, high = start[1] + 12, -28.0
    way = [
        start,
        (start[0], low),
        (lane, low),
        (lane, high),
        (x, high),
        (x, _INSET / 2),
    ]
    page.line(way, kind="flow", head=False, zorder=1)


def _note(net: Network) -> str:
    kinds = {operations.kind(call.layer) for call in net.calls.values()}
    if "normalization" not in kinds:
        return ""
    return "batch normalization behind every convolution is not drawn, as in the paper"
