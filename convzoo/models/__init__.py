"""One file per paper: the table first, then a builder that fits one screen."""
