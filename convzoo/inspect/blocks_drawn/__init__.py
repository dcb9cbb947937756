"""The block diagrams of the papers, drawn by `convzoo.inspect.block.plot_block`."""
