"""Held-out losses of models on the same windows, slice by slice.

Source: Arora et al. 2024, figure 3, https://arxiv.org/abs/2407.05483, which
scores the last 1,024 of 2,048 tokens.
"""

from collections.abc import Iterator, Mapping
import itertools
from typing import Any

import numpy as np

from jrt_jax.data import recallable_tokens
from jrt_jax.evaluation import slices
from jrt_jax.evaluation import statistics
from jrt_jax.evaluation import window_losses
from jrt_jax.generation.model import Model
from jrt_jax.reporting import provenance
from jrt_jax.reporting import tables

# The pairs of the paper's recall hits occur less than 1,000 times in 10 million
# documents of 2,048 tokens.
_RARE_SHARE = 1000 / (10**7 * 2048)


def rare(counted_tokens: int) -> int:
  """Returns the count below which a pair is as rare as in the paper.

  It is the same share of the counted tokens, 4.9e-8, but at least 1: in less
  than 30 million tokens, rare pairs are those that do not occur at all.
  """
  return max(1, round(_RARE_SHARE * counted_tokens))


def measure(
    models: Mapping[str, Model],
    windows: np.ndarray,
    counts: np.ndarray,
    *,
    rare: int,
    batch_size: int = 8,
) -> Iterator[dict[str, Any]]:
  """Yields the losses of models in all slices, and their paired differences.

  It yields a result after each model, with all models so far, so that partial
  results can be saved.

  Args:
    models: models by name, with one tokenizer. If one of them was trained on
      documents that do not see each other, documents are kept apart for all.
    windows: int [N, L + 1], at least two: see `window_losses.cut`.
    counts: int64 [N, L], how often the pair of each label is in the training
      data: see `bigrams.count`.
    rare: pairs of recall hits have a smaller count; see `rare`.
    batch_size: how many windows are read at once.

  Yields:
    JSON. `rare_share` is the share of rare pairs among the repeated pairs of
    labels; null if no pair is repeated. Each of `slices` has its `family`, the
    fields of `slices.Slice`, `tokens`, and by model the `loss`: nats per token,
    with its 95 % interval over the n windows that have such tokens (null for a
    single window). `differences` are the losses of one model minus those of
    another, in the same windows.

  Raises:
    ValueError: a window has an id that the tokenizer does not have.
  """
  segment_ids, half = (
      window_losses.documents(models, windows),
      counts.shape[1] // 2,
  )
  distances = recallable_tokens.distances(windows, segment_ids)
  families = slices.families(distances, counts, rare=rare, far=half)
  again = counts[:, half:][distances[:, half:] > 0]
  found = {}
  for name, model in models.items():
    found[name] = window_losses.losses(
        model, windows, segment_ids, batch_size=batch_size, name=name
    )
    rows = [*_parts(found), *_slices(found, families)]
    yield {
        'windows': len(windows),
        'length': windows.shape[1] - 1,
        'rare': rare,
        'rare_share': float(np.mean(again < rare)) if again.size else None,
        'slices': [_judged(*row) for row in rows if _tokens(row[-1])],
    }


def table(result: Mapping[str, Any]) -> str:
  """Returns the result of `measure` as a table, one slice a line."""
  models = [*result['slices'][0]['loss']]
  versus = [
      (x['first'], x['second']) for x in result['slices'][0]['differences']
  ]
  rows = [('', 'tokens', *models, *(f'{a} − {b}' for a, b in versus))]
  for row in result['slices']:
    known = {(x['first'], x['second']): x for x in row['differences']}
    values = [row['loss'].get(m) for m in models] + [
        known.get(x) for x in versus
    ]
    what = str(slices.Slice(*(row[name] for name in slices.Slice._fields)))
    rows.append((what, f"{row['tokens']:,}", *map(_shown, values)))
  return tables.aligned(rows, '<>')


def _parts(found) -> Iterator[tuple]:
  """Yields (family, slice, {model: (sums, counts)}), both float [N]."""
  for name in dict.fromkeys(name for parts in found.values() for name in parts):
    values = {
        model: (x.nll.sum(axis=1, dtype=np.float64), x.where.sum(axis=1))
        for model, parts in found.items()
        for x in [parts.get(name)]
        if x is not None
    }
    yield 'part', slices.Slice(name), values


def _slices(found, families) -> Iterator[tuple]:
  """Yields the same as `_parts`, for the slices of the last half."""
  for name, family in families.items():
    totals, counts = {}, {}
    for model, parts in found.items():
      part = parts[window_losses.LAST_HALF]
      totals[model] = slices.sums(family, part.nll)
      counts[model] = slices.sums(family, part.where)
    for i, what in enumerate(family.slices):
      yield name, what, {m: (totals[m][i], counts[m][i]) for m in found}


def _judged(family, what, values):
  """JSON of a slice: its mean loss by model, and their differences.

  Windows without such labels do not count as values.
  """
  has = np.any([counts > 0 for _, counts in values.values()], axis=0)
  means = {
      model: slices.linearised(totals[has], counts[has])
      for model, (totals, counts) in values.items()
  }
  return {
      'family': family,
      **what._asdict(),
      'tokens': _tokens(values),
      'loss': {
          m: provenance.plain(statistics.mean(x)) for m, x in means.items()
      },
      'differences': [
          {'first': a, 'second': b}
          | provenance.plain(statistics.paired_difference(means[a], means[b]))
          for a, b in itertools.combinations(means, 2)
      ],
  }


def _tokens(values):
  return int(max(counts.sum() for _, counts in values.values()))


def _shown(value):
  if value is None:
    return '–'
  if value['low'] is None:
    return f'{value["estimate"]:.3f} [one window]'
  return f'{value["estimate"]:.3f} [{value["low"]:.3f}, {value["high"]:.3f}]'
