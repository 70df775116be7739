"""Accuracy on the held-out samples of a synthetic task, by their size."""

from collections.abc import Callable, Mapping
import math
from typing import Any

from jrt_jax.data import objectives
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.training import held_out
from jrt_jax.training import label_sums

# Accuracy on items that the question has not named, on the last size that has
# enough of them. A model that stores only what the question named must guess.
UNNAMED = 'unnamed_accuracy'


class HeldOutAnswers:
  """Evaluates a model on the same samples every time, whatever its seed.

  Answers are scored without any [MASK] in the prefix. If the objective trains
  on masked tokens, these are scored separately. Each size has the same number
  of samples; together they are at least `config.eval_batches` batches.

  Args:
    rows: number of samples to evaluate at once.
    put: places a host batch on the devices.

  Raises:
    ValueError: a setting is wrong.
  """

  def __init__(
      self,
      config: Mapping[str, Any],
      tokenizer: split_lib.Ids,
      split: split_lib.Split,
      *,
      rows: int,
      put: Callable,
  ):
    self._split, self._put = split, put
    objective = config['objective']
    self._has_masks = objectives.has_masks(objective)
    clean = objectives.without_masks(objective)
    batches = math.ceil(config['eval_batches'] / len(split.sizes))
    count = batches * config['batch_size'] // rows
    self._batches = {
        (size, kind): held_out.held_out_batches(
            config,
            tokenizer,
            split.only(size),
            rows=rows,
            objective=settings,
            count=count,
        )
        for size in split.sizes
        for kind, settings in (
            ('clean', clean),
            *([('masked', objective)] if self._has_masks else []),
        )
    }
    self._samples = count * rows
    self._unnamed = []
    if (unnamed := split.unnamed()) is not None:
      self._unnamed = held_out.held_out_batches(
          config,
          tokenizer,
          unnamed.only(unnamed.sizes[-1]),
          rows=rows,
          objective=clean,
          count=count,
      )

  def run(self, step: Callable, params: Any) -> dict[str, float]:
    """Returns metrics by name: nats per answer and accuracies, also by size.

    Args:
      step: `Steps.evaluate`, compiled.
    """
    sums = {
        key: held_out.total(step(params, self._put(x)) for x in batches)
        for key, batches in self._batches.items()
    }
    means = _means(sums, 'clean')
    metrics = {
        'answer_loss': means['next_token_loss'],
        'answer_accuracy': means['next_token_accuracy'],
    }
    if len(self._split.sizes) > 1:
      for size in self._split.sizes:
        means = label_sums.means(sums[size, 'clean'])
        metrics[_of_size(size)] = means['next_token_accuracy']
    if self._has_masks:
      means = _means(sums, 'masked')
      metrics['masked_token_loss'] = means['masked_token_loss']
      metrics['masked_token_accuracy'] = means['masked_token_accuracy']
    if self._unnamed:
      found = held_out.total(step(params, self._put(x)) for x in self._unnamed)
      metrics[UNNAMED] = label_sums.means(found)['next_token_accuracy']
    return {name: float(value) for name, value in metrics.items()}

  def headline(self, metrics: Mapping[str, float]) -> str:
    """Returns the main metric in words."""
    return f'{metrics["answer_accuracy"]:.1%} of answers right'

  def lines(self, metrics: Mapping[str, float]) -> dict[str, str]:
    """Returns the lines that show the metrics of `run`, by name."""
    sizes = self._split.sizes
    chances = [self._split.chance(size) for size in sizes]
    lines = {
        'held-out samples': (
            f'{self._samples:,} of each size, of {self._split.name}'
        ),
        'answer accuracy': f'{metrics["answer_accuracy"]:.1%}',
        'answer loss': f'{metrics["answer_loss"]:.3f} nats',
    }
    if len(sizes) == 1:
      lines['answer accuracy'] += f' (guessing {chances[0]:.1%})'
    else:
      for size, chance in zip(sizes, chances):
        accuracy = metrics[_of_size(size)]
        lines[f'  size {split_lib.size_name(size)}'] = (
            f'{accuracy:.1%} (guessing {chance:.1%})'
        )
    if UNNAMED in metrics:
      lines['of what the question did not name'] = f'{metrics[UNNAMED]:.1%}'
    return lines | held_out.masked_lines(metrics)


def _means(sums, kind):
  return label_sums.means(
      held_out.total(x for (_, k), x in sums.items() if k == kind)
  )


def _of_size(size):
  return f'answer_accuracy_{split_lib.size_name(size)}'
