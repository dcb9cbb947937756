"""The layered layout of diagrams drawn without Graphviz."""

import itertools

import pytest
from structure import skeleton

from convzoo.inspect.graph import model_graph
from convzoo.inspect.layered import Item, Link, layout


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
