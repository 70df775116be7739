"""The Python interface to trained models; its names are those of `jrt_jax`."""

from jrt_jax.api.documents import DocumentMemory as DocumentMemory
from jrt_jax.api.loading import load as load
from jrt_jax.api.score import Score as Score
from jrt_jax.api.state import State as State
from jrt_jax.api.text_model import TextModel as TextModel
