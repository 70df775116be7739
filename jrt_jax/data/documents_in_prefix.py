"""Examples whose prefix is several documents that the model reads apart.

`config.data.documents_in_prefix` is the largest number of documents, N. Each
example has 1 to N, drawn with equal probability. They are equally long pieces of
the prefix, up to two tokens: all have an even length (but the last one, if the
prefix is odd), so that no key of a synthetic task such as mqar is cut off from
its value.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jrt_jax.cost import mixers
from jrt_jax.data import objectives
from jrt_jax.data.synthetic import tasks
from jrt_jax.prefix import policies


def divide(
    example: dict[str, np.ndarray], most: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
  """Returns an example whose prefix is 1 to `most` documents.

  Its `prefix_len` is int32 [most], the lengths of the documents, followed by
  zeros. The last token of the prefix has no next-token label: it does not see
  the earlier documents, and the text after the prefix starts anew.

  Args:
    example: an example of L positions, see `examples.py`; it is changed.
    most: N, `config.data.documents_in_prefix`; 0: the example stays as it is.
    rng: the generator of this example.
  """
  if not most:
    return example
  M = int(example['prefix_len'])
  last = slice(max(M - 1, 0), M)
  if (example['supervision'][last] == objectives.NEXT_TOKEN).all():
    example['targets'][last] = 0
    example['supervision'][last] = objectives.UNSUPERVISED
  count = int(rng.integers(1, most, endpoint=True))
  ends = 2 * (M // 2 * np.arange(1, count + 1) // count)
  ends[-1] = M
  lengths = np.diff(ends, prepend=0)
  example['prefix_len'] = np.pad(lengths, (0, most - count)).astype(np.int32)
  return example


def check(config: Mapping[str, Any]) -> None:
  """Raises ValueError if a run cannot have `config.data.documents_in_prefix`.

  Args:
    config: the config of a run.
  """
  data, prefix = config['data'], config['prefix']
  most, packing = data['documents_in_prefix'], data['packing']
  if not most:
    return
  given = f'with config.data.documents_in_prefix={most}'
  if packing != 'concat':
    raise ValueError(
        f"config.data.packing must be 'concat' {given}, got {packing!r}"
    )
  # What other mixers keep of several documents does not add up.
  if (readers := mixers.reading_prefix(config['model'])) != ['pla']:
    raise ValueError(
        'config.model.mixers must have pla, and no other mixer that reads a'
        f' prefix, {given}, got {", ".join(readers) or "none"}'
    )
  L = config['sequence_length']
  fits = policies.prefix_capacity(prefix, L) // 2
  if not fits:
    raise ValueError(
        f"config.prefix.name={prefix['name']!r} leaves no prefix {given}"
    )
  if most > fits:
    raise ValueError(
        f'config.data.documents_in_prefix must be at most {fits}, so that each'
        f' document has two tokens of the longest prefix, got {most}'
    )
  if data['source'] not in tasks.TASKS and objectives.is_all_prefix(prefix, L):
    raise ValueError(
        f"config.prefix.name={prefix['name']!r} leaves no next token to predict"
        f' {given}, as the prefix is the whole sequence: use a smaller'
        ' config.prefix.capacity'
    )
