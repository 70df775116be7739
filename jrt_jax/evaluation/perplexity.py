"""Held-out loss of models on the same windows, slice by slice.

The first half of a window is read as a prompt is: as much of it is prefix as
the run's policy says. The tokens of the last half are read causally after it,
and scored: no prefix ever holds what is scored.

Source: Arora et al. 2024, figure 3, https://arxiv.org/abs/2407.05483, which
scores the last 1,024 of 2,048 tokens.
"""

from collections.abc import Iterator, Mapping
import functools
import itertools
from typing import Any, NamedTuple

import jax
import numpy as np
import tqdm

from jrt_jax.data import objectives
from jrt_jax.data import recallable_tokens
from jrt_jax.evaluation import slices
from jrt_jax.evaluation import statistics
from jrt_jax.generation.model import Model
from jrt_jax.prefix import fitting
from jrt_jax.reporting import provenance
from jrt_jax.reporting import tables
from jrt_jax.training.loss import cross_entropy

# The paper's recall hits are of pairs that occur less than 1,000 times in 10
# million documents of 2,048 tokens, in which it counts.
_RARE_SHARE = 1000 / (10**7 * 2048)

# Parts of a window. What the last half is after the prefix, all slices are of.
LAST_HALF, CAUSAL_LAST_HALF = 'last half', 'last half, without prefix'
CAUSAL_FIRST_HALF = 'first half, without prefix'
MASKED = 'masked tokens of the prefix'


class Losses(NamedTuple):
  """What a model made of some labels of windows."""

  nll: np.ndarray  # float32 [N, L], nats; 0 elsewhere
  where: np.ndarray  # bool [N, L], which labels


def rare(counted_tokens: int) -> int:
  """Returns below what count a pair is as rare as the paper's.

  That is the same share of the tokens in which pairs are counted, 4.9e-8, but
  at least 1: in less than 30 million tokens rare pairs are those that do not
  occur at all.
  """
  return max(1, round(_RARE_SHARE * counted_tokens))


def cut(tokens: Any, length: int, count: int) -> np.ndarray:
  """Returns windows int [N, L + 1], evenly spread over a stream.

  Args:
    tokens: int [n], or a `TokenStream`; it is not copied.
    length: L, tokens that are read.
    count: of windows, at most.

  Raises:
    ValueError: there are fewer than two, or they have no two halves.
  """
  if length < 4:
    raise ValueError(f'windows must have at least 4 tokens, got {length}')
  windows = fitting.sample_windows(tokens, length + 1, count)
  if len(windows) < 2:
    raise ValueError(
        f'the text must have at least two windows of {length + 1} tokens, got'
        f' {len(tokens):,} tokens'
    )
  return np.stack(windows)


def documents(
    models: Mapping[str, Model], windows: np.ndarray
) -> np.ndarray | None:
  """Returns which document each position is in, int32 [N, L], from 0.

  None, where all models were trained on documents that see each other.
  """
  packings = {m.config['data'].get('packing') for m in models.values()}
  if 'documents' not in packings:
    return None
  first, *_ = models.values()
  ends = windows[:, :-1] == first.tokenizer.eos_id
  return np.cumsum(ends, axis=1, dtype=np.int32) - ends


def measure(
    models: Mapping[str, Model],
    windows: np.ndarray,
    counts: np.ndarray,
    *,
    rare: int,
    batch_size: int = 8,
) -> Iterator[dict[str, Any]]:
  """Yields the losses of models in all slices, and their paired differences.

  After each model that is of those so far, so that they can be kept; the last
  has all.

  Args:
    models: by the name that the result calls them; of one tokenizer. If one was
      trained on documents that do not see each other, none sees them so.
    windows: int [N, L + 1], at least two: see `cut`.
    counts: int64 [N, L], how often the pair of each label is in the training
      data: see `bigrams.count`.
    rare: recall hits are of pairs with a smaller count; see `rare`.
    batch_size: windows at once.

  Yields:
    JSON. `rare_share` is how many of the labels that end a pair again are of a
    rare one; null if none do. Each of `slices` has its `family`, the fields of `slices.Slice`,
    `tokens`, and by model the `loss`: nats per token, with its 95 % interval
    over the n windows that have such tokens (null if that is one window).
    `differences` are of pairs of models, the first less the second, in the same
    windows.

  Raises:
    ValueError: a window has an id that the tokenizer lacks.
  """
  segment_ids, half = documents(models, windows), counts.shape[1] // 2
  distances = recallable_tokens.distances(windows, segment_ids)
  families = slices.families(distances, counts, rare=rare, far=half)
  again = counts[:, half:][distances[:, half:] > 0]
  found = {}
  for name, model in models.items():
    found[name] = losses(
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


def losses(
    model: Model,
    windows: np.ndarray,
    segment_ids: np.ndarray | None = None,
    *,
    batch_size: int = 8,
    name: str = 'windows',
) -> dict[str, Losses]:
  """Returns what a model makes of the parts of windows [N, L + 1].

  Args:
    model: from `generation.load`.
    windows: int, consecutive tokens.
    segment_ids: int32 [N, L], documents that do not see each other; a prefix
      ends in the first.
    batch_size: windows at once.
    name: of the model, for the progress.

  Returns:
    next tokens of both halves, read without prefix; of the last half after
    the prefix; and masked tokens of the prefix, if that is what the model was
    trained on. What the prefix does not change is not there.

  Raises:
    ValueError: a window has an id that the tokenizer lacks.
  """
  ids = model.encode(windows)
  N, L = ids[:, 1:].shape
  is_last = np.broadcast_to(np.arange(L) >= L // 2, (N, L))
  is_next = np.ones((N, L), bool)
  if segment_ids is not None:  # an end does not predict the next document
    is_next = ids[:, :-1] != model.tokenizer.eos_id
  prefix_len = _prefix_lengths(model, ids[:, : L // 2], segment_ids)
  clean = {'tokens': ids[:, :-1], 'targets': ids[:, 1:]}
  score = functools.partial(
      _score, model, segment_ids=segment_ids, batch_size=batch_size, name=name
  )
  causal = score(clean, is_next, np.zeros(N, np.int32))
  first = {CAUSAL_FIRST_HALF: _at(causal, ~is_last)}
  if not prefix_len.any():
    return {LAST_HALF: _at(causal, is_last), **first}
  found = {
      LAST_HALF: score(clean, is_next & is_last, prefix_len),
      CAUSAL_LAST_HALF: _at(causal, is_last),
      **first,
  }
  objective = model.config.get('objective', {})
  if 'name' in objective and objectives.has_masks(objective):
    batch = _masked(model, ids, prefix_len)
    is_masked = batch['supervision'] == objectives.MASKED_TOKEN
    if is_masked.any():
      found[MASKED] = score(batch, is_masked, prefix_len)
  return found


def table(result: Mapping[str, Any]) -> str:
  """Returns what `measure` has found, a slice a line."""
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


def _prefix_lengths(model, prompts, segment_ids):
  """How much of int32 [N, L/2] is prefix: int32 [N]."""
  if segment_ids is None:
    return np.array([model.prefix_len(row) for row in prompts], np.int32)
  first = (segment_ids[:, : prompts.shape[1]] == 0).sum(axis=1)
  lengths = [model.prefix_len(row[:n]) for row, n in zip(prompts, first)]
  return np.array(lengths, np.int32)


def _masked(model, windows, prefix_len):
  """The examples of training, with masks in their prefixes."""
  objective = model.config['objective']
  examples = [
      objectives.OBJECTIVES[objective['name']].make(
          window,
          M,
          objective=objective,
          mask_id=model.config['model']['mask_id'],
          rng=np.random.default_rng(i),
      )
      for i, (window, M) in enumerate(zip(windows, prefix_len.tolist()))
  ]
  names = 'tokens', 'targets', 'supervision'
  return {name: np.stack([x[name] for x in examples]) for name in names}


def _at(losses, where):
  where = losses.where & where
  return Losses(losses.nll * where, where)


def _score(model, batch, where, prefix_len, *, segment_ids, batch_size, name):
  """Scores the labels `where`, bool [N, L], a batch of windows at a time."""
  N, L = where.shape
  rows = [batch['tokens'], batch['targets'], where, prefix_len, segment_ids]
  nll, batch_size = np.zeros((N, L), np.float32), min(batch_size, N)
  batch_size += -batch_size % model.replicas
  progress = tqdm.tqdm(
      total=N, desc=name, unit=' windows', delay=1, leave=False, disable=None
  )
  with progress as bar:
    for start in range(0, N, batch_size):
      # The last one is filled up: one shape.
      at = np.arange(start, start + batch_size).clip(max=N - 1)
      with model.on_mesh():
        found = _nll(
            model.merge,
            model.served,
            *(None if x is None else x[at] for x in rows),
            capacity=L // 2 if prefix_len.any() else 0,
        )
      end = min(start + batch_size, N)
      nll[start:end] = found[: end - start]
      bar.update(end - start)
  return Losses(nll, where)


@functools.partial(jax.jit, static_argnames=('merge', 'capacity'))
def _nll(
    merge, params, tokens, targets, where, prefix_len, segment_ids, *, capacity
):
  model = merge(params)
  hidden = model.hidden(
      tokens,
      prefix_len=prefix_len if capacity else None,
      prefix_capacity=capacity,
      segment_ids=segment_ids,
  )
  _, found = cross_entropy(
      hidden,
      params['embedding.embedding'],
      targets,
      where.astype('float32'),
      vocab_size=model.vocab_size,
  )
  return found.nll


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
  """Yields what `_parts` yields, of the slices of the last half."""
  for name, family in families.items():
    totals, counts = {}, {}
    for model, parts in found.items():
      part = parts[LAST_HALF]
      totals[model] = slices.sums(family, part.nll)
      counts[model] = slices.sums(family, part.where)
    for i, what in enumerate(family.slices):
      yield name, what, {m: (totals[m][i], counts[m][i]) for m in found}


def _judged(family, what, values):
  """JSON of a slice: its mean loss by model, and their differences.

  Windows without such labels tell nothing, and do not count as values.
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
