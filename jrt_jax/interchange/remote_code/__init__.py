"""The model in PyTorch, for transformers: copied to every export, as it is."""
