"""What `fastseq train` does: the classic models, how they are trained, and what is written down of it."""
