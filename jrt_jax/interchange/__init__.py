"""Models of others in, and ours out: official checkpoints, Hugging Face."""
