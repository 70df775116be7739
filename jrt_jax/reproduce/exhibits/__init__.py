"""EXHIBITS: a module for each table and figure."""

from jrt_jax.reproduce.exhibits import jrt_prompt

EXHIBITS = {
    'jrt_prompt': jrt_prompt.EXHIBIT,
}
