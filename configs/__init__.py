"""What runs are made of: data only."""
