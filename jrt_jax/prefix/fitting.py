"""Fits policies to data before training, and reads and writes their files."""

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any

import numpy as np

from configs import base
from jrt_jax import atomic_write
from jrt_jax import foreign
from jrt_jax.prefix import policies
from jrt_jax.schema import Anything
from jrt_jax.schema import Fields
from jrt_jax.schema import OneOf
from jrt_jax.schema import Text
from jrt_jax.schema import Whole

# The file of a policy: fitted values, and the settings for which they are.
_MADE_FOR = {'tokenizer': Text(), 'tokens': Whole(1, 2**22)}
# `config.prefix` as runs record it.
SETTINGS = Fields(
    {}, optional={**base.RANGES.keys['prefix'].keys, 'fitted': foreign.OBJECT}
)

_KIND = Fields({'policy': Text()}, others=Anything())
_RECORDED = Fields({'prefix': foreign.OBJECT}, others=Anything())

WINDOWS = 256  # enough for quantiles with an error of a few per cent


def sample_windows(
    tokens: Any, length: int, count: int = WINDOWS
) -> list[np.ndarray]:
  """Returns at most `count` windows, evenly spread over a stream.

  Of a mixture, each part has its share of the windows, and at least one.

  Args:
    tokens: int [n], a `TokenStream` or a `Mixture`; it is not copied.
    length: the tokens of a window; a shorter stream is one window.

  Raises:
    ValueError: the length is not positive.
  """
  if length < 1:
    raise ValueError(f'config.sequence_length must be positive, got {length}')
  if parts := getattr(tokens, 'parts', None):
    counts = [max(round(part.share * count), 1) for part in parts]
    return [
        window
        for part, own in zip(parts, counts)
        for window in sample_windows(part.tokens, length, own)
    ]
  num_windows = max(len(tokens) // length, 1)
  chosen = np.linspace(0, num_windows - 1, min(count, num_windows))
  starts = chosen.astype(int) * length
  return [tokens[start : start + length] for start in starts.tolist()]


def calibrated(
    prefix: Mapping, windows: list[np.ndarray], tokenizer: str
) -> dict[str, Any]:
  """Fits a policy to windows, and returns the content of its file, as JSON.

  Args:
    prefix: `config.prefix`, with the name and the settings of the policy.
    windows: windows of a corpus, int [n] each.
    tokenizer: the fingerprint of their tokenizer.
  """
  fit = policies.PREFIX_POLICIES[prefix['name']].fit
  return {
      'policy': prefix['name'],
      'tokenizer': tokenizer,
      'tokens': len(windows[0]),
      **fit.calibrate(windows, prefix),
  }


def fitted(
    prefix: Mapping, tokens: Any, *, sequence_length: int, tokenizer: str
) -> dict[str, Any]:
  """Returns `config.prefix` with the key `fitted`, if its policy needs it.

  Its value is the content of `config.prefix.file`. Without a file the policy is
  fitted to the training data, if it can be, with equal results at every start
  of a run.

  Args:
    prefix: `config.prefix`.
    tokens: the training data, int [n] or a `TokenStream`.
    sequence_length: L, the tokens of a sequence.
    tokenizer: the fingerprint of the tokenizer.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a setting is wrong, the file is damaged, or it was made for
      another policy, tokenizer, length or signal.
  """
  prefix = dict(prefix)
  policy = policies.PREFIX_POLICIES[prefix['name']]
  capacity = policy.capacity(prefix, sequence_length)
  if not policy.fit:
    return prefix
  if policy.fit.warn:
    policy.fit.warn(capacity, prefix)
  if prefix['file']:
    prefix['fitted'] = read(prefix['file'])
    _compare(prefix, sequence_length, tokenizer)
  elif policy.fit.calibrate:
    windows = sample_windows(tokens, sequence_length)
    prefix['fitted'] = calibrated(prefix, windows, tokenizer)
  else:
    raise ValueError(
        f'config.prefix.name={prefix["name"]!r} needs config.prefix.file, which'
        f' {policy.fit.written_by} writes'
    )
  return prefix


def recorded(
    prefix: Mapping, config_file: str | os.PathLike
) -> dict[str, Any] | None:
  """Returns `prefix` with the key `fitted` of a recorded config.

  With it, a run continues with exactly the values with which it began, even if
  `config.prefix.file` has moved or changed.

  Args:
    prefix: `config.prefix`.
    config_file: the JSON of a config.

  Returns:
    None if no values are recorded, or if they are for other settings.
  """
  path = pathlib.Path(config_file)
  if not path.exists():
    return None
  settings = foreign.read_json(path, _RECORDED)['prefix']
  content = settings.pop('fitted', None)
  wanted = json.loads(json.dumps(prefix))
  # Missing keys are newer; they are compared when the run is resumed.
  if content is None or wanted | settings != wanted:
    return None
  check(f'{path}: prefix', {**prefix, 'fitted': content})
  return {**prefix, 'fitted': content}


def read(path: str) -> dict[str, Any]:
  """Returns the content of a file that `write` has written.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: `write` has not written it.
  """
  file = pathlib.Path(path).expanduser()
  if not file.is_file():
    raise FileNotFoundError(f'config.prefix.file must be a file, got {path!r}')
  content = foreign.read_json(file, _KIND)
  OneOf(*policies.fitted_names()).check(f'{file}: policy', content['policy'])
  _check_fitted(f'{file}:', content['policy'], content)
  return content


def check(key: str, prefix: Mapping) -> None:
  """Raises ValueError unless a recorded `config.prefix` is valid.

  Args:
    key: the source of the config, for messages.
    prefix: the result of `fitted`.
  """
  SETTINGS.check(key, prefix)
  if policies.PREFIX_POLICIES[prefix['name']].fit:
    _check_fitted(f'{key}.fitted', prefix['name'], prefix.get('fitted'))


def write(path: str, content: Mapping[str, Any]) -> None:
  """Writes a fitted policy, for `config.prefix.file`."""
  file = pathlib.Path(path).expanduser()
  file.parent.mkdir(parents=True, exist_ok=True)
  atomic_write.text(file, json.dumps(content, indent=2) + '\n')


def _compare(prefix, sequence_length, tokenizer):
  """Raises ValueError if the file was made for other settings."""
  file = prefix['fitted']
  wanted = {
      'policy': prefix['name'],
      'tokens': sequence_length,
      'tokenizer': tokenizer,
  }
  fit = policies.PREFIX_POLICIES[prefix['name']].fit
  wanted |= {key: prefix[key] for key in fit.measured}
  for key, value in wanted.items():
    value = list(value) if isinstance(value, tuple) else value  # as in JSON
    if file.get(key) != value:
      raise ValueError(
          f'config.prefix.file={prefix["file"]!r} must be made for'
          f' {key} {value}, but it is for {file.get(key)}'
      )


def _check_fitted(key, name, content):
  """Raises ValueError unless this is valid content for the policy `name`."""
  fit = policies.PREFIX_POLICIES[name].fit
  needed, optional = fit.fields()
  needed = {'policy': OneOf(name), **needed, **_MADE_FOR}
  Fields(needed, optional=optional).check(key, content)
  rising = fit.rising
  if (np.diff(content[rising]) < 0).any():
    raise ValueError(f'{key} {rising} must rise, got {content[rising]}')
  K = len(content[rising])
  if any(len(row) != K for row in content.get('weights', ())):
    raise ValueError(
        f'{key} weights must have {K} columns, one for each fraction'
    )
