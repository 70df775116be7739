"""Held-out losses of each part of a mixture, and of all together."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from jrt_jax.data import mixture
from jrt_jax.training import held_out


class HeldOutMixture:
  """Evaluates a model on held-out windows of each part of a mixture.

  The metrics of a part are named '<part>/<metric>'. Metrics without a part are
  means over text in which each part has its share of the training sequences.

  Args:
    split: the held-out texts. Of each, as many windows are read as of the only
      text of another run.
    config, tokenizer, rows, put: see `held_out.HeldOutLoss`.

  Raises:
    ValueError: a part has too few tokens, or a setting is wrong.
  """

  def __init__(
      self,
      config: Mapping[str, Any],
      tokenizer: Any,
      split: mixture.Mixture,
      *,
      rows: int,
      put: Callable[..., Any],
  ):
    self._parts, self._shares = {}, {}
    for name, share, tokens in split.parts:
      try:
        part = held_out.HeldOutLoss(
            config, tokenizer, tokens, rows=rows, put=put
        )
      except ValueError as error:
        raise ValueError(f'config.data.mixture, {name}: {error}') from error
      self._parts[name], self._shares[name] = part, share

  def run(self, step: Callable, params: Any) -> dict[str, float]:
    """Returns metrics by name; see `HeldOutLoss.run`."""
    sums = {name: x.sums(step, params) for name, x in self._parts.items()}
    scaled = [self._scaled(name, x) for name, x in sums.items()]
    metrics = held_out.metrics(jax.tree.map(lambda *x: sum(x), *scaled))
    for name, own in sums.items():
      for metric, value in held_out.metrics(own).items():
        metrics[f'{name}/{metric}'] = value
    return metrics

  def headline(self, metrics: Mapping[str, float]) -> str:
    """Returns the main metric in words, and that of each part."""
    parts = [
        f'{name} {metrics[f"{name}/bits_per_byte"]:.3f}' for name in self._parts
    ]
    return f'{metrics["bits_per_byte"]:.3f} bits per byte ({", ".join(parts)})'

  def lines(self, metrics: Mapping[str, float]) -> dict[str, str]:
    """Returns the lines that show the metrics of `run`, by name."""
    size = sum(part.text_bytes for part in self._parts.values())
    lines = {
        'held-out text': f'{size:,} bytes of {len(self._parts)} texts',
        '  this model': f'{metrics["bits_per_byte"]:.3f} bits per byte, by share',
    }
    for name, part in self._parts.items():
      lines[f'  {name}'] = (
          f'{metrics[f"{name}/bits_per_byte"]:.3f} bits per byte (unigram'
          f' entropy {part.unigram:.3f}, bigram entropy {part.bigram:.3f})'
      )
    return (
        lines | held_out.recall_lines(metrics) | held_out.masked_lines(metrics)
    )

  def _scaled(self, name, sums):
    """Scales the sums of a part, since parts may have fewer windows."""
    scale = self._shares[name] / self._parts[name].windows
    return jax.tree.map(lambda x: scale * x, sums)
