"""Multi-query associative recall: pairs, then their keys among noise.

The document is `k1 v1 … kK vK`. The reply has keys at even positions, most of
them early, and random ids in between. The answer at a key is its value, which
the model does not read there. A size is (N, K): tokens and pairs.

Source: Arora et al. 2023 (Zoology), https://arxiv.org/abs/2312.04927, and the
sizes of Arora et al. 2024 (Based), https://arxiv.org/abs/2402.18668. Keys and
values are distinct in a sample; the document is shown once for each D of
`config.data.synthetic.order`.
"""

import functools

import numpy as np

from jrt_jax.data.synthetic import task as task_lib

# a: the probability of a key after g positions is proportional to g^(a - 1)
GAP_POWER = 0.01

_SIZES = ((64, 4), (128, 8), (256, 16), (256, 32), (256, 64))


def draw(
    rng: np.random.Generator,
    size: tuple[int, int],
    settings: task_lib.Settings,
) -> task_lib.Sample:
  """See `task.Task`."""
  N, K = size
  num_ids, queries = settings['num_ids'], task_lib.num_asked(K, settings)
  places = (N - 2 * K * settings['order'].count('D')) // 2
  if places < queries:
    raise ValueError(
        f'config.data.synthetic.sizes must leave room for {K} pairs and'
        f' {queries} queries, got {size}'
    )
  keys = task_lib.choose(rng, np.arange(1, num_ids // 2), K, 'keys')
  values = task_lib.choose(rng, np.arange(num_ids // 2, num_ids), K, 'values')
  document = task_lib.pairs(keys, values)
  chance = _chances(places)
  at = 2 * rng.choice(places, queries, replace=False, p=chance)
  order = rng.permutation(K)[:queries]
  length = N - len(document) * settings['order'].count('D')
  reply = rng.integers(num_ids, size=length)
  targets = np.full(length, task_lib.NO_ANSWER)
  reply[at], targets[at] = keys[order], values[order]
  return task_lib.sample(settings['order'], document, (), reply, targets)


def chance(size: tuple[int, int], settings: task_lib.Settings) -> float:
  """The accuracy of guessing any value of the prompt."""
  del settings
  return 1 / size[1]


@functools.cache
def _chances(places):
  chances = np.arange(1.0, places + 1) ** (GAP_POWER - 1)
  return chances / chances.sum()


TASK = task_lib.Task(
    draw,
    chance,
    num_ids=8192,
    sizes=_SIZES,
    held_out_sizes=(*_SIZES, (512, 128), (1024, 256)),
    size_is='a pair: tokens, key-value pairs',
)
