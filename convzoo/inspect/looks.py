"""Sizes and colours that figures share, and the font of those in the DOT language.

`KINDS` of `operations` has the colours of operations.
"""

FONT = "Helvetica"
TITLE_SIZE, TEXT_SIZE, LABEL_SIZE = 12, 11, 10  # points
BORDER, SKIP, LABEL = "#5f6b76", "#8a5a00", "#37474f"
SIDE_HEAD = "#6a3d9a"
FRAME, FRAME_FILL = "#b0bec5", "#f6f8f9"
GRID = "#e3e7ea"

# Attributes of every diagram in the DOT language.
GRAPH = {"fontname": FONT, "fontsize": str(TEXT_SIZE), "pad": "0.15", "labelloc": "t"}
NODE = {
    "shape": "box",
    "style": "rounded,filled",
    "fontname": FONT,
    "fontsize": str(TEXT_SIZE),
    "color": BORDER,
    "margin": "0.1,0.04",
    "height": "0.25",
}
EDGE = {
    "fontname": FONT,
    "fontsize": str(LABEL_SIZE),
    "fontcolor": LABEL,
    "color": BORDER,
    "arrowsize": "0.7",
}
