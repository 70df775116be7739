"""Held-out losses: next tokens, those that could be recalled, masked tokens."""

from collections.abc import Callable, Mapping
import functools
import itertools
import math
from typing import Any

import jax
import numpy as np

from jrt_jax.data import entropy
from jrt_jax.data import objectives
from jrt_jax.data import pipeline
from jrt_jax.data import recall
from jrt_jax.training import train_state


class Evaluation:
  """The same held-out windows, in order, at every evaluation of a run.

  Next tokens are scored without any [MASK] in the prefix, as in inference;
  masked tokens are scored apart, where the objective trains on them. So are the
  next tokens that `recall.recallable` finds in the clean windows.

  Args:
    config: of the run.
    tokenizer: of the tokens.
    tokens: int [n], the held-out stream.
    rows: sequences to evaluate at once.
    put: places a host batch on the devices.

  Raises:
    ValueError: there are too few tokens, or a setting is wrong.
  """

  def __init__(
      self, config: Mapping[str, Any], tokenizer, tokens, *, rows, put
  ):
    self._put = put
    objective = config['objective']
    batches = functools.partial(_batches, config, tokenizer, tokens, rows=rows)
    has_masks = objective['name'] == 'jrt'
    clean = {**objective, 'name': 'prefix_lm'} if has_masks else objective
    self._batches = {'clean': batches(objective=clean)}
    if has_masks:
      self._batches['masked'] = batches(objective=objective)
    _add_recallable(self._batches)
    self._label_bytes = sum(
        int(tokenizer.num_bytes[b['targets'][_is_next(b)]].sum())
        for b in self._batches['clean']
    )
    windows = len(self._batches['clean']) * rows
    text = tokenizer.decode(tokens[: windows * config['sequence_length']])
    text = text.encode()
    self.text_bytes = len(text)
    self.unigram, self.bigram = entropy.ngram_entropies(text)

  def run(self, step: Callable, params: Any) -> dict[str, float]:
    """Returns metrics by name: nats per token, bits per byte, accuracies.

    Where no next token could be recalled, its loss and accuracy are left out.

    Args:
      step: `Steps.evaluate`, compiled.
      params: of the model.
    """
    clean = self._sums('clean', step, params)
    bits = clean['next_token_nll'] / math.log(2)
    means = train_state.means(clean)
    metrics = {
        'next_token_loss': means['next_token_loss'],
        'perplexity': math.exp(min(means['next_token_loss'], 700.0)),
        'bits_per_byte': bits / max(self._label_bytes, 1),
        'next_token_accuracy': means['next_token_accuracy'],
        'recall_fraction': clean['recall_count'] / clean['next_token_count'],
    }
    if clean['recall_count']:
      metrics['recall_loss'] = means['recall_loss']
      metrics['recall_accuracy'] = means['recall_accuracy']
    if 'masked' in self._batches:
      means = train_state.means(self._sums('masked', step, params))
      metrics['masked_token_loss'] = means['masked_token_loss']
      metrics['masked_token_accuracy'] = means['masked_token_accuracy']
    return {name: float(value) for name, value in metrics.items()}

  def _sums(self, kind, step, params):
    sums = [step(params, self._put(batch)) for batch in self._batches[kind]]
    return jax.tree.map(lambda *x: float(np.sum(x, dtype=np.float64)), *sums)


def _batches(config, tokenizer, tokens, *, rows, objective):
  # Whole batches of the run if there are any: `rows` depends on the devices.
  length, batch = config['sequence_length'], config['batch_size']
  windows = (len(tokens) - 1) // length
  windows = min(config['eval_batches'] * batch, windows // batch * batch)
  count = windows // rows or None
  batches = pipeline.batches(
      tokens,
      sequence_length=config['sequence_length'],
      batch_size=rows,
      objective=objective,
      prefix=config['prefix'],
      num_ids=tokenizer.size,
      mask_id=config['model']['mask_id'],
      seed=config['seed'],
      training=False,
      packing=config['data']['packing'],
      eos_id=tokenizer.eos_id,
      num_threads=0,
  )
  return list(itertools.islice(batches, count))


def _add_recallable(batches):
  """Adds `recallable`, bool [B, L], to the batches of each kind."""
  windows = [
      np.concatenate([batch['tokens'], batch['targets'][:, -1:]], axis=1)
      for batch in batches['clean']
  ]
  segments = [b['segment_ids'] for b in batches['clean'] if 'segment_ids' in b]
  masks = recall.recallable(
      np.concatenate(windows), np.concatenate(segments) if segments else None
  )
  for same_batches in batches.values():  # all alike: one compiled step
    for batch, mask in zip(same_batches, np.split(masks, len(same_batches))):
      batch['recallable'] = mask & _is_next(batch)


def _is_next(batch):
  return batch['supervision'] == objectives.NEXT_TOKEN
