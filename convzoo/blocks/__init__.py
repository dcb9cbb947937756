"""Building blocks: pure functions, tensor in, tensor out, layers named after ``name``.

``convolution``, ``residual``, ``inception``, ``separable``, ``encoder`` and ``head``
know numbers and names, not networks; ``examples/own_network.py`` composes a new one.
"""
