"""Readers of weight files: one a format, each gives named arrays and runs no code."""
