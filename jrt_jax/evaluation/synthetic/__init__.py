"""Small experiments with known results that show what limits recall."""
