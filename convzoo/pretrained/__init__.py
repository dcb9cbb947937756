"""Published weights: records, files, readers, and what puts them into a model."""
