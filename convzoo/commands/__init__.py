"""The commands that need more than a page, and what all of them share."""
