"""The loops: kernels over flat buffers, with every loop, load, store and accumulator in the open."""
