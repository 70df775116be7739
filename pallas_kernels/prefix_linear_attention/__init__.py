"""Prefix linear attention: causal, over a state that has read the prefix."""
