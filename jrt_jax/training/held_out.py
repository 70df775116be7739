"""Held-out losses of next tokens, of recallable tokens and of masked tokens."""

from collections.abc import Callable, Iterable, Mapping
import functools
import itertools
import math
from typing import Any

import jax
import numpy as np

from jrt_jax.data import entropy
from jrt_jax.data import examples
from jrt_jax.data import objectives
from jrt_jax.data import pipeline
from jrt_jax.data import recallable_tokens
from jrt_jax.data import splits
from jrt_jax.data import vocabulary
from jrt_jax.training import label_sums


class HeldOutLoss:
  """Evaluates a model on the same held-out windows every time.

  Next tokens are scored without any [MASK] in the prefix, as in inference. Two
  kinds of tokens are also scored separately: masked tokens, if the objective
  trains on them, and next tokens that `recallable_tokens.recallable` finds in
  the clean windows.

  Args:
    tokens: int [n], the held-out stream.
    rows: number of sequences to evaluate at once.
    put: places a host batch on the devices.

  Attributes:
    windows: number of windows that are read.
    text_bytes: bytes of their text.
    unigram, bigram: entropies of that text, in bits per byte.

  Raises:
    ValueError: there are too few tokens, or a setting is wrong.
  """

  def __init__(
      self, config: Mapping[str, Any], tokenizer, tokens, *, rows, put
  ):
    self._put = put
    objective = config['objective']
    batches = functools.partial(_batches, config, tokenizer, tokens, rows=rows)
    clean = objectives.without_masks(objective)
    self._batches = {'clean': batches(objective=clean)}
    if objectives.has_masks(objective):
      self._batches['masked'] = batches(objective=objective)
    _add_recallable(self._batches)
    self._label_bytes = sum(
        int(tokenizer.num_bytes[b['targets'][_is_next(b)]].sum())
        for b in self._batches['clean']
    )
    self.windows = len(self._batches['clean']) * rows
    text = tokenizer.decode(tokens[: self.windows * config['sequence_length']])
    text = text.encode()
    self.text_bytes = len(text)
    self.unigram, self.bigram = entropy.ngram_entropies(text)

  def run(self, step: Callable, params: Any) -> dict[str, float]:
    """Returns metrics by name: nats per token, bits per byte, accuracies.

    If no next token could be recalled, the metrics of recall are left out.

    Args:
      step: `Steps.evaluate`, compiled.
    """
    return metrics(self.sums(step, params))

  def sums(self, step: Callable, params: Any) -> dict[str, dict[str, float]]:
    """Returns sums over labels, for `metrics`; those of 'masked' are optional.

    Args:
      step: `Steps.evaluate`, compiled.
    """
    sums = {
        kind: total(step(params, self._put(batch)) for batch in batches)
        for kind, batches in self._batches.items()
    }
    sums['clean']['label_bytes'] = float(self._label_bytes)
    return sums

  def headline(self, metrics: Mapping[str, float]) -> str:
    """Returns the main metric in words."""
    return f'{metrics["bits_per_byte"]:.3f} bits per byte'

  def lines(self, metrics: Mapping[str, float]) -> dict[str, str]:
    """Returns the lines that show the metrics of `run`, by name."""
    lines = {
        'held-out text': f'{self.text_bytes:,} bytes',
        '  unigram entropy': f'{self.unigram:.3f} bits per byte',
        '  bigram entropy': f'{self.bigram:.3f} bits per byte',
        '  this model': (
            f'{metrics["bits_per_byte"]:.3f} bits per byte (next token, clean'
            ' prefix)'
        ),
    }
    return lines | recall_lines(metrics) | masked_lines(metrics)


def metrics(sums: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
  """Returns the metrics of `HeldOutLoss.run` from sums, or from their means."""
  clean = sums['clean']
  means = label_sums.means(clean)
  bits = clean['next_token_nll'] / math.log(2)
  found = {
      'next_token_loss': means['next_token_loss'],
      'perplexity': math.exp(min(means['next_token_loss'], 700.0)),
      'bits_per_byte': bits / max(clean['label_bytes'], 1),
      'next_token_accuracy': means['next_token_accuracy'],
      'recall_fraction': clean['recall_count'] / clean['next_token_count'],
  }
  if clean['recall_count']:
    found['recall_loss'] = means['recall_loss']
    found['recall_accuracy'] = means['recall_accuracy']
  if 'masked' in sums:
    means = label_sums.means(sums['masked'])
    found['masked_token_loss'] = means['masked_token_loss']
    found['masked_token_accuracy'] = means['masked_token_accuracy']
  return {name: float(value) for name, value in found.items()}


def total(sums: Iterable[Mapping[str, Any]]) -> dict[str, float]:
  """Adds up the sums that `Steps.evaluate` returned for several batches."""
  return jax.tree.map(lambda *x: float(np.sum(x, dtype=np.float64)), *sums)


def recall_lines(metrics: Mapping[str, float]) -> dict[str, str]:
  """Returns the line with the accuracy on recalled tokens, or {} without any."""
  if 'recall_accuracy' not in metrics:
    return {}
  share = f'{metrics["recall_fraction"]:.1%}'
  return {
      'recalled-token accuracy': (
          f'{metrics["recall_accuracy"]:.1%} (on the {share} that end a rare'
          ' pair read before)'
      )
  }


def masked_lines(metrics: Mapping[str, float]) -> dict[str, str]:
  """Returns the line with the accuracy on masked tokens, or {} without any."""
  if 'masked_token_accuracy' not in metrics:
    return {}
  return {'masked-token accuracy': f'{metrics["masked_token_accuracy"]:.1%}'}


def _batches(config, tokenizer, tokens, *, rows, objective):
  # Whole batches of `batch_size`, if the data has any: unlike `rows`, that does
  # not depend on the number of devices.
  length, batch = config['sequence_length'], config['batch_size']
  windows = (len(tokens) - 1) // length
  windows = min(config['eval_batches'] * batch, windows // batch * batch)
  count = windows // rows or None
  return held_out_batches(
      config, tokenizer, tokens, rows=rows, objective=objective, count=count
  )


def held_out_batches(
    config: Mapping[str, Any],
    tokenizer: vocabulary.Tokenizer,
    split: splits.Split,
    *,
    rows: int,
    objective: Mapping[str, Any],
    count: int | None,
) -> list[dict[str, np.ndarray]]:
  """Returns the first `count` batches of a split, or all; see `HeldOutLoss`."""
  recipe = examples.Recipe.of({**config, 'objective': objective}, tokenizer)
  batches = pipeline.batches(
      split,
      recipe,
      batch_size=rows,
      seed=config['seed'],
      training=False,
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
  masks = recallable_tokens.recallable(
      np.concatenate(windows), np.concatenate(segments) if segments else None
  )
  for same_batches in batches.values():  # in both kinds, for one compiled step
    for batch, mask in zip(same_batches, np.split(masks, len(same_batches))):
      batch['recallable'] = mask & _is_next(batch)


def _is_next(batch):
  return batch['supervision'] == objectives.NEXT_TOKEN
