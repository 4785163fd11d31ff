"""The measurements of `fastseq bench` and of the scripts in the source tree's `bench/`.

A `measuring.Comparison` is a problem and the implementations that can compute it. A `measuring.Measurement` verifies
them against each other and times them in turns.

Only the modules of `implementations` import a framework when they are imported. The others must not: `machine.prepare`
makes settings before that, and a worker process may need a framework without fastseq's core.
"""
