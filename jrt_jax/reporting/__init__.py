"""What people look at: metrics, curves, figures, plans and numbers in words."""
