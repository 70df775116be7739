"""Turns samples of a task into training examples, see `objectives.py`."""

from collections.abc import Callable, Mapping

import grain
import numpy as np

from jrt_jax.data import objectives
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.data.synthetic import task as task_lib
from jrt_jax.prefix import policies

# More than any run takes, which is steps x batch_size.
_ENDLESS = 2**48


def check(source: str, prefix: Mapping, packing: str, repeat: float) -> None:
  """Raises ValueError for settings that need text.

  Args:
    source: the name of the task.
    prefix: `config.prefix`.
    packing: `config.data.packing`.
    repeat: `config.data.repeat`.
  """
  of_text = policies.fitted_names()
  others = [x for x in policies.PREFIX_POLICIES if x not in of_text]
  for key, value, allowed in (
      ('prefix.name', prefix['name'], others),
      ('data.packing', packing, ('concat',)),
      ('data.repeat', repeat, (0,)),
  ):
    if value not in allowed:
      raise ValueError(
          f'config.{key} must be {" or ".join(map(str, allowed))} with'
          f' config.data.source={source!r}, got {value!r}'
      )


def dataset(
    split: split_lib.Split,
    *,
    sequence_length: int,
    batch_size: int,
    objective: Mapping,
    prefix: Mapping,
    mask_id: int,
    seed: int,
    packing: str = 'concat',
    repeat: float = 0.0,
) -> grain.MapDataset:
  """Returns an endless dataset of examples; see `pipeline.batches`.

  Raises:
    ValueError: a setting is wrong, or a sequence is too short for a sample.
  """
  check(split.name, prefix, packing, repeat)
  split.check_length(sequence_length)
  policy = policies.make(prefix, sequence_length)

  def make(index, rng):
    sample = split.draw(index, rng, batch_size=batch_size)
    return example(
        sample,
        sequence_length,
        policy=policy,
        objective=objective,
        mask_id=mask_id,
        rng=rng,
    )

  return grain.MapDataset.range(_ENDLESS).seed(seed).random_map(make)


def example(
    sample: task_lib.Sample,
    sequence_length: int,
    *,
    policy: Callable[..., int],
    objective: Mapping,
    mask_id: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
  """Returns a sample as an example, padded with 0.

  Only answers have labels, as next tokens. The policy sees the prompt: with
  'full' all of it is prefix, with 'fixed' as much as there is room for. The
  objective may mask tokens of the prefix, but not at positions of answers.

  Args:
    sample: a sample of at most L tokens.
    sequence_length: L.
    policy: maps `(tokens, rng=)` to a prefix length.
    objective: `config.objective`.
    mask_id: the id of [MASK].
    rng: the generator of this example.
  """
  fill = 0, sequence_length - len(sample.tokens)
  answered = sample.targets != task_lib.NO_ANSWER
  prefix_len = policy(sample.tokens[: sample.prompt_len], rng=rng)
  made = {
      'tokens': np.pad(sample.tokens, fill).astype(np.int32),
      'targets': np.pad(np.where(answered, sample.targets, 0), fill).astype(
          np.int32
      ),
      'supervision': np.pad(
          np.where(answered, objectives.NEXT_TOKEN, objectives.UNSUPERVISED),
          fill,
      ).astype(np.int8),
      'prefix_len': np.int32(prefix_len),
  }
  if objectives.has_masks(objective):
    objectives.mask(
        made,
        np.flatnonzero(~answered[:prefix_len]),
        objective=objective,
        mask_id=mask_id,
        rng=rng,
    )
  return made
