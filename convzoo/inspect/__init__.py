"""Models explained in pictures and tables."""
