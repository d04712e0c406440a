"""The training loop, the run folder it fills and the progress it shows."""
