"""Trained models in Python, for those who use them; `jrt_jax` has its names."""

from jrt_jax.api.loading import load as load
from jrt_jax.api.score import Score as Score
from jrt_jax.api.state import State as State
from jrt_jax.api.text_model import TextModel as TextModel
