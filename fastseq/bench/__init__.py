"""What `fastseq bench` and the scripts of the source tree's `bench/` measure with.

A `measuring.Comparison` is something to compute and those who can compute it, the sides; a `measuring.Measurement`
verifies them against each other and times them in turns.

No module here imports a framework when it is itself imported, except those of `sides`: settings must be made before
(`machine.prepare`), and a worker process may need one without fastseq's core.
"""
