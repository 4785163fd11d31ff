"""Whole trainings: repeated ones must have the same bits."""

from __future__ import annotations

from processes import run_long

from fastseq import runtime


def test_training_of_all_layers_has_the_same_bits_for_any_threads_alone_and_under_load() -> None:
    options = ["--families", "all", "--steps", "2", "--rounds", "1", "--threads", *"12345678", "--isas", runtime.isa()]
    done = run_long("determinism.py", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "16 trainings, 0 with other bits" in done.stdout
