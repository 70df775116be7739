"""Training: the loss, the step, the optimizer, the loop and checkpoints."""
