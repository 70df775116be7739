"""How well a model does on tasks, and whether its scores are honest."""
