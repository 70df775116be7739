"""The model in PyTorch, for transformers; every export gets a copy of it."""
