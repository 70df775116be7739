"""What users see: metrics, curves, figures, plans and formatted numbers."""
