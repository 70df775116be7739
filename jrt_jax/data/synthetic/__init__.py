"""Synthetic tasks, which generate questions and answers about recall."""
