"""How a picture with a caption has to be laid out."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg


def assert_tidy(figure):
    """Every text inside the page, none on another, none smaller than ten points."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [text for text in (*figure.texts, *_drawn(figure)) if text.get_text()]
    spans = [text.get_window_extent(canvas.get_renderer()) for text in texts]
    for text, span in zip(texts, spans, strict=True):
        assert figure.bbox.x0 + 2 < span.x0, text
        assert span.x1 < figure.bbox.x1 - 2, text
        assert figure.bbox.y0 < span.y0, text
        assert span.y1 < figure.bbox.y1, text
        assert text.get_size() >= 10, text
    for (a, one), (b, other) in itertools.combinations(
        zip(texts, spans, strict=True), 2
    ):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        along = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across <= 0 or along <= 1.5, (a, b)


def _drawn(figure):
    for axes in figure.axes:
        yield from axes.texts
        if axes.axison:
            yield from (*axes.get_xticklabels(), *axes.get_yticklabels())
            yield from (axes.xaxis.label, axes.yaxis.label)
