"""Recall tasks that lm-evaluation-harness reads; see README.md."""
