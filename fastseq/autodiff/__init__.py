"""What front ends for frameworks with automatic differentiation share: `fastseq.torch` and `fastseq.jax`."""
