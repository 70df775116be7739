"""Objectives: which positions of an example have a label, and which label.

`Objective.make` maps `(window, prefix_len, *, objective, mask_id, rng)` to an
example:
  window: int [L + 1], consecutive tokens of the stream.
  prefix_len: M, the first M tokens are the prefix.
  objective: `config.objective`, the settings.
  mask_id: the id of [MASK].
  rng: np.random.Generator of this example.

`examples.py` says what an example is, and calls these functions; the values of
`supervision` are the constants below.

Source: Arora et al. 2024 (JRT-RNN), https://arxiv.org/abs/2407.05483, eq. 5.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from jrt_jax.prefix import policies

UNSUPERVISED, NEXT_TOKEN, MASKED_TOKEN = 0, 1, 2


def next_token(
    window: np.ndarray,
    prefix_len: int,
    *,
    objective: Mapping,
    mask_id: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
  """Every position predicts the next token; `prefix_len` must be 0."""
  del objective, mask_id, rng
  return _predict_next(window, prefix_len, first=0)


def prefix_lm(
    window: np.ndarray,
    prefix_len: int,
    *,
    objective: Mapping,
    mask_id: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
  """Predicts the tokens after the prefix, from its last position on."""
  del mask_id, rng
  first = _first_prediction(prefix_len, objective['boundary'])
  return _predict_next(window, prefix_len, first=first)


def jrt(
    window: np.ndarray,
    prefix_len: int,
    *,
    objective: Mapping,
    mask_id: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
  """As `prefix_lm`, and predicts masked tokens of the prefix.

  A position that predicts the next token is never masked: at inference the
  last token of a prompt is not masked either.
  """
  first = _first_prediction(prefix_len, objective['boundary'])
  example = _predict_next(window, prefix_len, first=first)
  mask(
      example,
      np.arange(first),
      objective=objective,
      mask_id=mask_id,
      rng=rng,
  )
  return example


class Objective(NamedTuple):
  """The facts of an objective.

  Attributes:
    make: see the module docstring.
    settings: the keys of `config.objective` that it reads.
    clean: the objective with the same next-token labels but without masked
      tokens, which is used for evaluation; None if this one masks no tokens.
    causal: whether every position has a next-token label. Then there must be no
      prefix, in which positions would see their labels.
  """

  make: Callable[..., dict[str, np.ndarray]]
  settings: tuple[str, ...] = ()
  clean: str | None = None
  causal: bool = False


OBJECTIVES = {
    'next_token': Objective(next_token, causal=True),
    'prefix_lm': Objective(prefix_lm, settings=('boundary',)),
    'jrt': Objective(
        jrt,
        settings=('mlm_weight', 'mask_rate', 'boundary', 'token_zero'),
        clean='prefix_lm',
    ),
}


def has_masks(objective: Mapping) -> bool:
  """Whether `config.objective` masks tokens, which needs an id of [MASK]."""
  return OBJECTIVES[objective['name']].clean is not None


def without_masks(objective: Mapping) -> Mapping:
  """Returns `config.objective` without masks; next tokens keep their labels."""
  clean = OBJECTIVES[objective['name']].clean
  return {**objective, 'name': clean or objective['name']}


def check(objective: Mapping, prefix: Mapping, sequence_length: int) -> None:
  """Raises ValueError unless `config.objective` fits `config.prefix`."""
  name = objective['name']
  if OBJECTIVES[name].causal and prefix['name'] != 'none':
    raise ValueError(
        f"config.objective.name={name!r} needs config.prefix.name='none',"
        f' got {prefix["name"]!r}: a position inside a prefix would see its'
        ' label'
    )
  is_all = is_all_prefix(prefix, sequence_length)
  if is_all and objective['boundary'] == 'reference':
    raise ValueError(
        "config.objective.boundary='reference' leaves no next token to predict"
        f" with config.prefix.name={prefix['name']!r}, as the prefix is the"
        " whole sequence: use 'predict', or a smaller config.prefix.capacity"
    )


def is_all_prefix(prefix: Mapping, sequence_length: int) -> bool:
  """Whether `config.prefix` makes all of every text sequence prefix."""
  return (
      policies.PREFIX_POLICIES[prefix['name']].fills
      and policies.prefix_capacity(prefix, sequence_length) == sequence_length
  )


def mask(
    example: dict[str, np.ndarray],
    positions: np.ndarray,
    *,
    objective: Mapping,
    mask_id: int,
    rng: np.random.Generator,
) -> None:
  """Masks tokens of an example and adds their labels, in place.

  Args:
    example: see the module docstring.
    positions: int [n], the positions that may become [MASK].
    objective, mask_id, rng: see the module docstring.
  """
  tokens = example['tokens']
  drawn = rng.random(len(positions)) < objective['mask_rate']
  masked = supervised = positions[drawn]
  if objective['token_zero'] == 'reference':
    supervised = masked[tokens[masked] != 0]
  example['targets'][supervised] = tokens[supervised]
  example['supervision'][supervised] = MASKED_TOKEN
  tokens[masked] = mask_id


def _first_prediction(prefix_len: int, boundary: str) -> int:
  # The prefix ends at M - 1, so that position has not seen its next token. The
  # reference starts at M: it never trains the position that predicts the first
  # token after a prompt that is all prefix.
  return max(prefix_len - (boundary == 'predict'), 0)


def _predict_next(
    window: np.ndarray, prefix_len: int, *, first: int
) -> dict[str, np.ndarray]:
  """Gives each position from `first` on the next token as its label."""
  window = window.astype(np.int32)
  positions = np.arange(len(window) - 1)
  return {
      'tokens': window[:-1],
      'targets': np.where(positions >= first, window[1:], 0),
      'supervision': np.where(
          positions >= first, np.int8(NEXT_TOKEN), np.int8(UNSUPERVISED)
      ),
      'prefix_len': np.int32(prefix_len),
  }
