"""The layered layout of diagrams drawn without Graphviz."""

import itertools

import pytest
from structure import skeleton

from convzoo.inspect import dot
from convzoo.inspect.curves import way
from convzoo.inspect.graph import model_graph
from convzoo.inspect.layered import Item, Link, layout
from convzoo.inspect.nested import nested_layout


@pytest.mark.parametrize("name", ["googlenet", "alexnet", "unet"])
def test_boxes_never_overlap(name):
    graph = model_graph(skeleton(name), "layer")
    items = [Item(10.0 + 7 * (i % 13), 5.0 + i % 3) for i in range(len(graph.nodes))]
    links = [Link(e.source, e.target, e.skip, 4.0) for e in graph.edges]
    found = layout(items, links, across=3.0, along=6.0)
    for i, j in itertools.combinations(range(len(items)), 2):
        (x1, y1), (x2, y2) = found.centres[i], found.centres[j]
        apart = abs(x1 - x2) - (items[i].breadth + items[j].breadth) / 2
        below = abs(y1 - y2) - (items[i].depth + items[j].depth) / 2
        assert apart > -1e-6 or below > -1e-6, (i, j)


def test_side_heads_stay_near():
    graph = model_graph(skeleton("googlenet", aux=True))
    links = [Link(e.source, e.target, e.skip, 4.0) for e in graph.edges]
    items = [Item(40.0, 10.0)] * len(graph.nodes)
    assert layout(items, links, across=5.0, along=10.0).breadth < 4 * 40


def test_chains_and_long_edges_are_straight():
    items = [Item(40.0, 10.0), Item(60.0, 10.0), Item(20.0, 10.0), Item(40.0, 10.0)]
    chain = [Link(i, i + 1, False, 4.0) for i in range(3)]
    found = layout(items, [*chain, Link(0, 3, True, 30.0)], across=5.0, along=10.0)
    assert len({round(x, 3) for x, _ in found.centres}) == 1
    (route,) = [route for route in found.routes if route]
    assert len({round(x, 3) for x, _ in route}) == 1
    assert route[0][0] > found.centres[1][0] + 30


def test_a_late_input_stands_before_its_reader():
    items = [Item(10.0, 10.0)] * 4
    links = [Link(0, 1, False, 4.0), Link(1, 3, False, 4.0), Link(2, 3, False, 4.0)]
    found = layout(items, links, across=5.0, along=10.0)
    assert found.centres[2][1] == found.centres[1][1]


def framed(name, **arguments):
    """Lay a builder's layers out in frames; return all that a check needs."""
    graph = model_graph(skeleton(name, **arguments), "layer")
    items = [Item(60.0 + 7 * (i % 13), 20.0) for i in range(len(graph.nodes))]
    links = [Link(e.source, e.target, e.skip, 4.0) for e in graph.edges]
    groups = [members for _, members in dot.clusters_of(graph)]
    found = nested_layout(
        items, links, groups, [50.0] * len(groups), across=10, along=16, margin=8
    )
    return items, links, groups, found


FRAMED = [
    ("googlenet", {"aux": True}),
    ("alexnet", {}),
    ("unet", {"variant": "paper"}),
    ("inception_v3", {"aux": True}),
]


@pytest.mark.parametrize(("name", "arguments"), FRAMED)
def test_every_layer_stands_in_the_frame_of_its_block_alone(name, arguments):
    items, _, groups, (found, frames, _) = framed(name, **arguments)
    assert [frame is None for frame in frames] == [len(group) == 1 for group in groups]
    for members, frame in zip(groups, frames, strict=True):
        for i, ((x, y), item) in enumerate(zip(found.centres, items, strict=True)):
            if frame:
                inside = min(
                    x - item.breadth / 2 - frame.left,
                    y - item.depth / 2 - frame.top,
                    frame.right - x - item.breadth / 2,
                    frame.bottom - y - item.depth / 2,
                )
                assert inside >= 8 - 1e-6 if i in members else inside <= -item.depth


@pytest.mark.parametrize(("name", "arguments"), FRAMED)
def test_edges_pass_no_box(name, arguments):
    items, links, _, (found, _, _) = framed(name, **arguments)
    for link, route in zip(links, found.routes, strict=True):
        line = way(link, route, items, found.centres)
        for (x1, y1), (x2, y2) in itertools.pairwise(line.points):
            if x1 == x2:
                for i, ((x, y), item) in enumerate(
                    zip(found.centres, items, strict=True)
                ):
                    beside = abs(x - x1) >= item.breadth / 2
                    outside = y + item.depth / 2 <= y1 or y2 <= y - item.depth / 2
                    assert i in link[:2] or beside or outside


def test_a_frame_has_one_port_for_each_source():
    items = [Item(40.0, 10.0)] * 5
    links = [Link(0, 1, False, 4.0), Link(0, 2, False, 4.0), Link(0, 3, True, 4.0)]
    links += [Link(1, 3, False, 4.0), Link(2, 3, False, 4.0), Link(3, 4, False, 4.0)]
    layout, frames, exits = nested_layout(
        items, links, [[0], [1, 2, 3], [4]], [0.0] * 3, across=5, along=10, margin=4
    )
    entering = {route[0] for route in layout.routes[:3]}
    assert len(entering) == 1, "all edges enter together"
    ((x, y),) = entering
    assert y == frames[1].top
    assert x == pytest.approx(layout.centres[0][0]), "and straight from above"
    assert layout.routes[5][-1][1] == frames[1].bottom
    assert exits == [0, 0, 0, 0, 0, 1]
    assert frames[0] is frames[2] is None


def test_what_skips_stands_right_of_the_data_s_usual_way():
    graph = model_graph(skeleton("unet", variant="paper"), "layer")
    *_, (found, _, _) = framed("unet", variant="paper")
    x_of = {n.name: x for n, (x, _) in zip(graph.nodes, found.centres, strict=True)}
    for level in range(1, 5):
        assert x_of[f"up{level}_match_crop"] > x_of[f"up{level}_up_conv"]


def test_skips_meet_boxes_at_their_sides_where_nothing_stands():
    sizes, skip = [Item(40.0, 20.0)] * 3, Link(0, 1, True, 4.0)
    ends, route = [(0.0, 0.0), (0.0, 100.0), (45.0, 0.0)], [(50.0, 50.0)]
    free = way(skip, route, sizes[:2], ends[:2])
    assert free.points == [(20.0, 5.0), (50.0, 50.0), (20.0, 95.0)]
    assert (free.leaves, free.enters) == (True, True)
    taken = way(skip, route, sizes, ends)
    assert taken.points == [(12.0, 10.0), (50.0, 50.0), (20.0, 95.0)]
    assert (taken.leaves, taken.enters) == (False, True)
    near = way(skip, [(25.0, 50.0)], sizes[:2], ends[:2])
    assert near.points == [(12.0, 10.0), (25.0, 50.0), (12.0, 90.0)]
    usual = way(skip._replace(light=False), route, sizes[:2], ends[:2])
    assert usual.points == [(0.0, 10.0), (50.0, 50.0), (0.0, 90.0)]
