"""Where the non-causal prefix of an example ends."""
