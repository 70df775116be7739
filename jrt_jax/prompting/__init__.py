"""Prompts that are read more than once: text in, text out, for any model."""
