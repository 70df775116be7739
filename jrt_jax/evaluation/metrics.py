"""Metrics for task files of lm-evaluation-harness, beside its own."""

from collections.abc import Sequence

import lm_eval.api.metrics  # noqa: F401, registers its metrics
from lm_eval.api import registry

from jrt_jax.evaluation.recall import scores


@registry.register_metric(
    metric='contains',
    higher_is_better=True,
    output_type='generate_until',
    aggregation='mean',
)
def contains(references: Sequence[str], predictions: Sequence[str]) -> float:
  """The share of answers that contain the reference; see `scores.contains`."""
  pairs = [*zip(references, predictions, strict=True)]
  return sum(scores.contains(r, p) for r, p in pairs) / len(pairs)
