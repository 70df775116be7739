"""Valid files made wrong in a few places, as a fuzzer's bytes decide."""

from collections.abc import Callable
import io
import json
import math
from typing import Any

import numpy as np

# What stands where it should not, in JSON.
_VALUES = (
    *(None, True, False, 0, -1, 1, 3, 255, 2**31, 2**33, 10**12, 10**400),
    *(0.0, 0.5, -0.5, 1e-300, 1e30, 1e308, math.nan, math.inf, -math.inf),
    *('', 'x', 'a\nb', '\0', '../x', 'a.b', 'é' * 5000, '<|endoftext|>'),
    *([], {}, [[]], [0.5], [-1, 'x'], {'a': {}}, {'policy': 'learned'}),
    *('bytes', 'learned', 'entropy', 'uniform', 'attention', ['pla'] * 600),
)
_DTYPES = ('i1', 'i8', 'u8', 'f2', 'f4', 'f8', 'c16', 'U3', '?', 'O', 'M8[s]')
_NUMBERS = (0, -1, 1, 127, 2**31, 2**40, 0.5, 1e30, math.nan, math.inf)


class Choices:
  """Bytes as a sequence of decisions; when they run out, all are 0."""

  def __init__(self, data: bytes):
    self._bytes = iter(data)

  def below(self, n: int) -> int:
    """The next number from 0 to n - 1."""
    x = next(self._bytes, 0)
    return (x if n <= 256 else x << 8 | next(self._bytes, 0)) % n

  def of(self, values: Any) -> Any:
    """One of a sequence."""
    return values[self.below(len(values))]


def mutated(content: bytes, kind: str, data: bytes) -> bytes:
  """Returns `content`, wrong in one to three places.

  Args:
    content: of a valid file.
    kind: a key of `KINDS`; sometimes its bytes are changed all the same.
    data: decides what is changed.
  """
  choices = Choices(data)
  change = KINDS[kind] if choices.below(8) < 7 else _bytes
  for _ in range(1 + choices.below(3)):
    content = change(content, choices)
  return content


def _bytes(content, choices):
  if not content:
    return bytes([choices.below(256)])
  at, length = choices.below(len(content)), choices.below(16)
  new = bytes(choices.below(256) for _ in range(choices.below(8)))
  changed = bytes([content[at] ^ 1 << choices.below(8)])
  return choices.of(
      (
          content[:at] + changed + content[at + 1 :],
          content[:at] + new + content[at + length :],
          content[:at],
          content[: at + length] + content[at:],
      )
  )


def _json(content, choices):
  try:
    root = [json.loads(content)]
  except ValueError:  # an earlier change was to bytes
    return _bytes(content, choices)
  _change(root, choices)
  return json.dumps(root[0] if root else None).encode()


def _change(node, choices):
  """Replaces, removes, renames or adds a value inside of a list or a dict."""
  keys = [*node] if isinstance(node, dict) else range(len(node))
  if keys:
    key = choices.of(keys)
    if isinstance(node[key], dict | list) and choices.below(5):
      return _change(node[key], choices)
    action = choices.below(5)
    if action == 0:
      del node[key]
    elif action == 4 and isinstance(node, dict):
      node[str(choices.of(_VALUES))[:9]] = node.pop(key)
    elif action == 1 and type(node[key]) in (int, float):
      node[key] = choices.of((-node[key], node[key] + 1, node[key] * 1000))
    else:
      node[key] = choices.of(_VALUES)
  elif isinstance(node, dict):
    node[str(choices.of(_VALUES))[:9]] = choices.of(_VALUES)
  else:
    node.append(choices.of(_VALUES))


def _json_lines(content, choices):
  lines = content.split(b'\n')
  i = choices.below(len(lines))
  lines[i] = _json(lines[i], choices) if lines[i] else b'3'
  return b'\n'.join(lines)


def _npz(content, choices):
  try:
    with np.load(io.BytesIO(content)) as file:
      arrays = dict(file)
  except Exception:  # an earlier change has made it none
    return _bytes(content, choices)
  if arrays:
    name = choices.of(sorted(arrays))
    with np.errstate(all='ignore'):
      arrays[name] = _array(arrays[name], choices)
    if not choices.below(8):
      arrays[choices.of((*arrays, 'x'))] = arrays.pop(name)
  file = io.BytesIO()
  np.savez_compressed(file, **arrays)
  return file.getvalue()


def _array(x, choices):
  if x.dtype.kind == 'U' and not x.ndim and choices.below(4):
    return np.array(_json(str(x).encode(), choices).decode(errors='replace'))
  action = choices.below(4)
  if action == 0:
    return np.full(x.shape, choices.of(_NUMBERS))
  if action == 1:
    shape = tuple(choices.below(5) for _ in range(choices.below(4)))
    return np.resize(x, shape)
  if action == 2 and x.size and x.dtype.kind in 'iuf':
    changed = x.astype(float)
    changed.flat[choices.below(x.size)] = choices.of(_NUMBERS)
    return changed.astype(choices.of((x.dtype, 'f8')))
  try:
    return x.astype(choices.of(_DTYPES))
  except (RuntimeError, TypeError, ValueError):
    return x[:0] if x.ndim else x[None]


# By the kind of a file, a map of its content and `Choices`.
KINDS: dict[str, Callable[[bytes, Choices], bytes]] = {
    'bytes': _bytes,
    'json': _json,
    'jsonl': _json_lines,
    'npz': _npz,
}
