"""Plans of runs on other machines' GPUs, for `python -m jrt_jax.plan`."""
