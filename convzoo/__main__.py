"""``python -m convzoo`` is the ``convzoo`` command."""

from convzoo.cli import main

main()
