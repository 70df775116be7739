"""The losses of a model in windows of text, of which the first half is a prompt.

The first half of a window is read with the prefix that the run's policy gives
it. The tokens of the last half are read causally after it and scored, so that
no scored token is ever prefix.
"""

from collections.abc import Mapping
import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from jrt_jax.data import objectives
from jrt_jax.data import packings
from jrt_jax.generation.model import Model
from jrt_jax.prefix import fitting
from jrt_jax.reporting.progress import progress_bar
from jrt_jax.training.loss import cross_entropy

# Parts of a window. All slices are of the last half, after the prefix.
LAST_HALF, CAUSAL_LAST_HALF = 'last half', 'last half, without prefix'
CAUSAL_FIRST_HALF = 'first half, without prefix'
MASKED = 'masked tokens of the prefix'


class Losses(NamedTuple):
  """The losses of a model for some labels of windows."""

  nll: np.ndarray  # float32 [N, L], nats; 0 for other labels
  where: np.ndarray  # bool [N, L], which labels these are


def cut(tokens: Any, length: int, count: int) -> np.ndarray:
  """Returns windows int [N, L + 1], evenly spread over a stream.

  Args:
    tokens: int [n], or a `TokenStream`; it is not copied.
    length: L, the tokens of a window that are read.
    count: the most windows.

  Raises:
    ValueError: the text has fewer than two windows, or L is less than 4.
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
  """Returns the document of each position, int32 [N, L], counted from 0.

  Returns None if all models were trained on documents that see each other.
  """
  names = {m.config['data'].get('packing', 'concat') for m in models.values()}
  if not any(packings.PACKINGS[name].separates for name in names):
    return None
  first, *_ = models.values()
  ends = windows[:, :-1] == first.tokenizer.eos_id
  return np.cumsum(ends, axis=1, dtype=np.int32) - ends


def losses(
    model: Model,
    windows: np.ndarray,
    segment_ids: np.ndarray | None = None,
    *,
    batch_size: int = 8,
    name: str = 'windows',
) -> dict[str, Losses]:
  """Returns the losses of a model in the parts of windows [N, L + 1].

  Args:
    model: a model from `generation.load`.
    windows: int, consecutive tokens.
    segment_ids: int32 [N, L], documents that do not see each other; a prefix
      ends in the first.
    batch_size: how many windows are read at once.
    name: the name of the model, for the progress bar.

  Returns:
    losses by part: the next tokens of the last half after the prefix, and of
    both halves read without prefix; also the masked tokens of the prefix, if
    the model was trained on them. Without a prefix, the last half is given only
    once.

  Raises:
    ValueError: a window has an id that the tokenizer does not have.
  """
  ids = model.encode(windows)
  N, L = ids[:, 1:].shape
  is_last = np.broadcast_to(np.arange(L) >= L // 2, (N, L))
  is_next = np.ones((N, L), bool)
  if segment_ids is not None:  # no document predicts the next one
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


def _prefix_lengths(model, prompts, segment_ids):
  """The prefix lengths, int32 [N], of prompts int32 [N, L/2]."""
  if segment_ids is None:
    return np.array([model.prefix_len(row) for row in prompts], np.int32)
  first = (segment_ids[:, : prompts.shape[1]] == 0).sum(axis=1)
  lengths = [model.prefix_len(row[:n]) for row, n in zip(prompts, first)]
  return np.array(lengths, np.int32)


def _masked(model, windows, prefix_len):
  """The windows as examples of training, with masked tokens in the prefix."""
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
  with progress_bar(total=N, desc=name, unit=' windows', leave=False) as bar:
    for start in range(0, N, batch_size):
      # The last batch is padded, so that all have one shape.
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
