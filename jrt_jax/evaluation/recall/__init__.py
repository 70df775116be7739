"""Tasks that measure whether a model recalls its context."""
