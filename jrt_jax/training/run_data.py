"""What a run reads: its splits, a prefix that is fitted to them, its batches."""

from collections.abc import Callable, Mapping
import pathlib
from typing import Any

import jax

from jrt_jax.data import pipeline
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.prefix import fitting
from jrt_jax.runtime import distributed
from jrt_jax.runtime import failures
from jrt_jax.training import checkpoint
from jrt_jax.training import held_out
from jrt_jax.training import held_out_answers


class Data:
  """All processes must make one together: each looks at its share of the files.

  Args:
    config: of the run, whose model has room for the tokenizer.
    tokenizer: of the data.
    workdir: of a run that may be there; its fitted prefix is kept.

  Attributes:
    config: with the prefix as it was fitted.
    held_out: the split that is evaluated.
    is_text: whether it is text; if not, examples of a synthetic task.
    train_tokens: that there are to train on; None: as many as are drawn.
    mean_prefix: tokens of the prefix of a sequence.
    fingerprint: tells other text and other tokenizers apart.

  Raises:
    ValueError: the prefix cannot be fitted, or processes read other data.
    OSError: the data cannot be read.
  """

  def __init__(
      self,
      config: Mapping[str, Any],
      tokenizer: Any,
      workdir: pathlib.Path,
  ):
    self._tokenizer = tokenizer
    with failures.shared():  # each process looks at other files
      splits = pipeline.splits(
          config['data'],
          tokenizer,
          share=(jax.process_index(), jax.process_count()),
      )
    self._train, self.held_out = splits['train'], splits['validation']
    with failures.shared():  # one process measures, or reads the file
      prefix = distributed.from_first(
          lambda: self._fitted_prefix(config, workdir)
      )
    self.config = {**config, 'prefix': prefix}
    self.is_text = not isinstance(self.held_out, split_lib.Split)
    self.train_tokens = len(self._train) if self.is_text else None
    self.mean_prefix = pipeline.mean_prefix(
        self._train,
        sequence_length=config['sequence_length'],
        prefix=prefix,
        packing=config['data']['packing'],
        eos_id=tokenizer.eos_id,
        repeat=config['data']['repeat'],
    )
    self.fingerprint = (
        f'{self._train.fingerprint} of tokenizer {tokenizer.fingerprint}'
    )
    with failures.shared():
      self._compare()

  def batches(self, share: tuple[int, int]) -> Any:
    """Returns an iterator over training batches, whose place can be kept.

    Args:
      share: which part of each batch this process reads, and of how many.
    """
    config = self.config
    return pipeline.batches(
        self._train,
        sequence_length=config['sequence_length'],
        batch_size=config['batch_size'],
        objective=config['objective'],
        prefix=config['prefix'],
        num_ids=self._tokenizer.size,
        mask_id=config['model']['mask_id'],
        seed=config['seed'],
        training=True,
        packing=config['data']['packing'],
        repeat=config['data']['repeat'],
        eos_id=self._tokenizer.eos_id,
        num_threads=config['data']['num_threads'],
        share=share,
    )

  def evaluation(
      self, *, rows: int, put: Callable[..., Any]
  ) -> held_out.HeldOutLoss | held_out_answers.HeldOutAnswers:
    """Returns what the run is judged by.

    Args:
      rows: sequences that are evaluated at once.
      put: places a batch on the devices.
    """
    kind = (
        held_out.HeldOutLoss
        if self.is_text
        else held_out_answers.HeldOutAnswers
    )
    return kind(self.config, self._tokenizer, self.held_out, rows=rows, put=put)

  def _fitted_prefix(self, config, workdir):
    if checkpoint.exists(workdir):  # a run that will be continued
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
