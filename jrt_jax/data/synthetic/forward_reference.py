"""Forward reference: names are mentioned first and described later.

The prompt is `m1 … mn 1`, then `m a` for each name m in another order. The
answer at the first mention of m is its attribute a, which follows later. A
causal model can only guess; a model that reads the prefix as a whole can know.
The size is the number n of names.

Source: open question 3 of the JRT paper (tasks that need both directions),
https://arxiv.org/abs/2407.05483.
"""

import numpy as np

from jrt_jax.data.synthetic import task as task_lib


def draw(
    rng: np.random.Generator, size: int, settings: task_lib.Settings
) -> task_lib.Sample:
  """See `task.Task`; there is no question, so that `order` is ignored."""
  name_ids, attribute_ids = task_lib.halves(settings)
  names = task_lib.choose(rng, name_ids, size, 'names')
  attributes = task_lib.choose(rng, attribute_ids, size, 'attributes')
  order = rng.permutation(size)
  said = task_lib.pairs(names[order], attributes[order])
  tokens = np.concatenate([names, [task_lib.QUESTION], said])
  targets = np.full(len(tokens), task_lib.NO_ANSWER)
  asked = rng.permutation(size)[: task_lib.num_asked(size, settings)]
  targets[asked] = attributes[asked]
  return task_lib.Sample(tokens, targets, len(tokens))


def chance(size: int, settings: task_lib.Settings) -> float:
  """The accuracy of guessing any attribute of the prompt."""
  del settings
  return 1 / size


TASK = task_lib.Task(
    draw,
    chance,
    num_ids=100,
    sizes=(4, 8, 16),
    settings=(*task_lib.OF_EVERY_TASK, 'queries'),
)
