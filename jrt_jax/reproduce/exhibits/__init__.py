"""EXHIBITS: the tables and figures, each in its own module."""

from jrt_jax.reproduce.exhibits import ablations
from jrt_jax.reproduce.exhibits import baselines
from jrt_jax.reproduce.exhibits import beyond_prefix
from jrt_jax.reproduce.exhibits import bidirectional
from jrt_jax.reproduce.exhibits import documents
from jrt_jax.reproduce.exhibits import dynamic_prefix
from jrt_jax.reproduce.exhibits import feature_maps
from jrt_jax.reproduce.exhibits import hierarchical_prompting
from jrt_jax.reproduce.exhibits import jrt_prompt
from jrt_jax.reproduce.exhibits import jrt_prompt_trained
from jrt_jax.reproduce.exhibits import jrt_rnn
from jrt_jax.reproduce.exhibits import perplexity_slices
from jrt_jax.reproduce.exhibits import prefill_latency
from jrt_jax.reproduce.exhibits import retrofit
from jrt_jax.reproduce.exhibits import ridge
from jrt_jax.reproduce.exhibits import selection
from jrt_jax.reproduce.exhibits import set_disjointness
from jrt_jax.reproduce.exhibits import set_disjointness_trained
from jrt_jax.reproduce.exhibits import short_prompts
from jrt_jax.reproduce.exhibits import text_baselines

EXHIBITS = {
    'jrt_prompt': jrt_prompt.EXHIBIT,
    'jrt_rnn': jrt_rnn.EXHIBIT,
    'beyond_prefix': beyond_prefix.EXHIBIT,
    'short_prompts': short_prompts.EXHIBIT,
    'prefill_latency': prefill_latency.EXHIBIT,
    'ablations': ablations.EXHIBIT,
    'set_disjointness': set_disjointness.EXHIBIT,
    'set_disjointness_trained': set_disjointness_trained.EXHIBIT,
    'perplexity_slices': perplexity_slices.EXHIBIT,
    'dynamic_prefix': dynamic_prefix.EXHIBIT,
    'feature_maps': feature_maps.EXHIBIT,
    'hierarchical_prompting': hierarchical_prompting.EXHIBIT,
    'jrt_prompt_trained': jrt_prompt_trained.EXHIBIT,
    'bidirectional': bidirectional.EXHIBIT,
    'selection': selection.EXHIBIT,
    'mqar_baselines': baselines.MQAR,
    'set_disjointness_baselines': baselines.SET_DISJOINTNESS,
    'text_baselines': text_baselines.EXHIBIT,
    'retrofit': retrofit.EXHIBIT,
    'ridge': ridge.EXHIBIT,
    'documents': documents.EXHIBIT,
}
