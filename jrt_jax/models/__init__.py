"""Language models with a decode state of fixed size."""

from jrt_jax.models.functional import abstract as abstract
from jrt_jax.models.functional import build as build
from jrt_jax.models.functional import ROUNDED_TABLE as ROUNDED_TABLE
from jrt_jax.models.functional import split as split
from jrt_jax.models.language_model import LanguageModel as LanguageModel
