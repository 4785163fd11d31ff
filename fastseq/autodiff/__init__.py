"""Shared code of the front ends for frameworks with automatic differentiation: `fastseq.torch` and `fastseq.jax`."""
