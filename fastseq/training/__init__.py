"""The command `fastseq train`: its models, their training, and the files that it writes."""
