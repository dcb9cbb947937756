"""Whole networks drawn in the manner of their papers."""
