"""Analyses programs that XLA has compiled, from their text; no jax."""
