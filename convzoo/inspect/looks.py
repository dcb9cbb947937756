"""The font, sizes and colours of all figures; `KINDS` has those of operations."""

FONT = "Helvetica"
TITLE_SIZE, TEXT_SIZE, LABEL_SIZE = 12, 11, 10  # points
BORDER, SKIP, LABEL = "#5f6b76", "#8a5a00", "#37474f"
SIDE_HEAD = "#6a3d9a"
FRAME, FRAME_FILL = "#b0bec5", "#f6f8f9"
