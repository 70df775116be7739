"""The loss, the step, the optimizer, checkpoints and metrics."""
