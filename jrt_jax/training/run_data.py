"""The data of a run: its splits, the prefix fitted to them, its batches."""

from collections.abc import Callable, Mapping
import pathlib
from typing import Any

import jax

from jrt_jax.data import examples
from jrt_jax.data import mixture
from jrt_jax.data import pipeline
from jrt_jax.data import prefix_lengths
from jrt_jax.data import splits as splits_lib
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.prefix import fitting
from jrt_jax.runtime import distributed
from jrt_jax.runtime import failures
from jrt_jax.training import checkpoint_reader
from jrt_jax.training import held_out
from jrt_jax.training import held_out_answers
from jrt_jax.training import held_out_mixture

Evaluation = (
    held_out.HeldOutLoss
    | held_out_mixture.HeldOutMixture
    | held_out_answers.HeldOutAnswers
)


class Data:
  """The data of a run.

  All processes must create it together: each checks its share of the files.

  Args:
    config: the config of the run, whose vocabulary has room for the tokenizer.
    workdir: the workdir; if it has a run already, its fitted prefix is kept.

  Attributes:
    config: the config, with the fitted prefix.
    held_out: the split that is evaluated.
    sources: the name, the share of training sequences and the training tokens
      of each part of a mixture; else empty.
    is_text: True for text, False for a synthetic task.
    train_tokens: number of training tokens; None for a synthetic task.
    mean_prefix: mean length of the prefix of a sequence, in tokens.
    fingerprint: identifies the text and the tokenizer.

  Raises:
    ValueError: the prefix cannot be fitted, or processes read different data.
    OSError: the data cannot be read.
  """

  def __init__(
      self,
      config: Mapping[str, Any],
      tokenizer: Any,
      workdir: pathlib.Path,
  ):
    self._tokenizer = tokenizer
    with failures.shared():  # each process checks other files
      splits = splits_lib.splits(
          config['data'],
          tokenizer,
          share=(jax.process_index(), jax.process_count()),
      )
    self._train, self.held_out = splits['train'], splits['validation']
    with failures.shared():  # one process measures or reads the prefix
      prefix = distributed.from_first(
          lambda: self._fitted_prefix(config, workdir)
      )
    self.config = {**config, 'prefix': prefix}
    self.is_text = not isinstance(self.held_out, split_lib.Split)
    self.train_tokens = len(self._train) if self.is_text else None
    self.sources = [
        (name, share, len(tokens))
        for name, share, tokens in getattr(self._train, 'parts', ())
    ]
    self._recipe = examples.Recipe.of(self.config, tokenizer)
    self.mean_prefix = prefix_lengths.mean(self._train, self._recipe)
    self.fingerprint = (
        f'{self._train.fingerprint} of tokenizer {tokenizer.fingerprint}'
    )
    with failures.shared():
      self._compare()

  def batches(self, share: tuple[int, int]) -> Any:
    """Returns an iterator over training batches, whose position can be saved.

    Args:
      share: (part, parts): the part of each batch that this process reads.
    """
    return pipeline.batches(
        self._train,
        self._recipe,
        batch_size=self.config['batch_size'],
        seed=self.config['seed'],
        training=True,
        num_threads=self.config['data']['num_threads'],
        share=share,
    )

  def tokens_per_second(self, share: tuple[int, int]) -> float:
    """Estimates the rate of all processes from that of this one."""
    _, parts = share
    return parts * pipeline.tokens_per_second(self.batches(share))

  def evaluation(self, *, rows: int, put: Callable[..., Any]) -> Evaluation:
    """Returns the evaluation of the held-out split.

    Args:
      rows: number of sequences that are evaluated at once.
      put: places a batch on the devices.
    """
    if not self.is_text:
      kind = held_out_answers.HeldOutAnswers
    elif isinstance(self.held_out, mixture.Mixture):
      kind = held_out_mixture.HeldOutMixture
    else:
      kind = held_out.HeldOutLoss
    return kind(self.config, self._tokenizer, self.held_out, rows=rows, put=put)

  def _fitted_prefix(self, config, workdir):
    if checkpoint_reader.exists(workdir):  # that run will be continued
      record = workdir / 'config.json'
      if prefix := fitting.recorded(config['prefix'], record):
        return prefix
    return fitting.fitted(
        config['prefix'],
        self._train,
        sequence_length=config['sequence_length'],
        tokenizer=self._tokenizer.fingerprint,
    )

  def _compare(self):
    first = distributed.from_first(lambda: self.fingerprint)
    if self.fingerprint != first:
      raise ValueError(
          'config.data must be the same for every process, got'
          f' {self.fingerprint} here and {first} in process 0'
      )
