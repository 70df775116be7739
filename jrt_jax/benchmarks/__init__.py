"""What `python -m jrt_jax.benchmark` measures of whole models."""
