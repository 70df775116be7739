"""What XLA has made of a program, read from the text of it; no jax."""
