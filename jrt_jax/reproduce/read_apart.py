"""How much a trained model recalls of documents that it has read apart."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax import models
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.data.synthetic import task as task_lib
from jrt_jax.models import documents
from jrt_jax.models.language_model import LanguageModel
from jrt_jax.reproduce import training
from jrt_jax.training import workdirs

COUNTS = (1, 2, 4, 8)  # numbers of documents
_NUM_SAMPLES = 256


def figure(count: int) -> str:
  """Returns the name of the accuracy with this number of documents."""
  return f'documents_{count}'


def measure(
    settings: Mapping[str, Any], workdir: pathlib.Path
) -> dict[str, Any]:
  """Trains a model; returns its figures, and `accuracy` for each of COUNTS."""
  figures = training.train(settings, workdir)
  if figures['diverged']:
    return figures | {figure(count): None for count in COUNTS}
  found = workdirs.read(workdir)
  merge, _ = models.abstract(found.config['model'])
  data = found.config['data']
  split = split_lib.Split(data['source'], data['synthetic'], held_out=True)
  samples = [split.draw(i, None, batch_size=1) for i in range(_NUM_SAMPLES)]
  return figures | {
      figure(count): accuracy(merge(found.params), samples, count)
      for count in COUNTS
  }


def accuracy(
    model: LanguageModel, samples: Sequence[task_lib.Sample], count: int
) -> float:
  """Returns the share of right answers if a prompt is `count` documents.

  Args:
    model: a model with `pla` layers.
    samples: samples of one size, whose prompts are equally long.
    count: the number of documents, each of which has equally many tokens.
  """
  tokens, targets = (
      np.stack([getattr(x, name) for x in samples])
      for name in ('tokens', 'targets')
  )
  B, P = len(samples), samples[0].prompt_len
  asked = targets[:, P:] != task_lib.NO_ANSWER

  @jax.jit
  def answers(prompts, replies):
    rows = prompts.reshape(B * count, P // count)
    sums = documents.read(
        model, rows, jnp.ones(rows.shape, bool), block=P // count
    )
    sums = jax.tree.map(
        lambda x: x.reshape(B, count, *x.shape[1:]).sum(axis=1), sums
    )
    x, _ = model.decode_steps(replies, documents.states(model, sums))
    return jnp.argmax(model.logits(x), axis=-1)

  found = answers(
      tokens[:, :P].astype(np.int32), tokens[:, P:].astype(np.int32)
  )
  return float(np.mean(np.asarray(found)[asked] == targets[:, P:][asked]))
