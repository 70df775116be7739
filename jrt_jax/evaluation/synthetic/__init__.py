"""Small questions whose answers are known: what limits recall, and why."""
