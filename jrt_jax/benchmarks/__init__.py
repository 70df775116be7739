"""The measurements of whole models for `python -m jrt_jax.benchmark`."""
