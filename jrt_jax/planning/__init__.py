"""What `python -m jrt_jax.plan` says of a run on GPUs that are not there."""
