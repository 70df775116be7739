"""Any language model, of this package or of others, through one protocol."""

from jrt_jax.evaluation.language_models.loading import load as load
from jrt_jax.evaluation.language_models.loading import parse_options as parse_options
from jrt_jax.evaluation.language_models.protocol import Completion as Completion
from jrt_jax.evaluation.language_models.protocol import LanguageModel as LanguageModel
from jrt_jax.evaluation.language_models.protocol import NoLogLikelihoods as NoLogLikelihoods
from jrt_jax.evaluation.language_models.protocol import Score as Score
