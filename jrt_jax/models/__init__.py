"""Language models with a fixed decode state."""

from jrt_jax.models.language_model import abstract as abstract
from jrt_jax.models.language_model import build as build
from jrt_jax.models.language_model import LanguageModel as LanguageModel
from jrt_jax.models.language_model import split as split
