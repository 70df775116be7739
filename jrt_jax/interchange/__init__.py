"""Conversion from and to official checkpoints and Hugging Face."""
