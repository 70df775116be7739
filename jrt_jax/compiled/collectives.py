"""The data that devices exchange in a compiled train step."""

import collections
from collections.abc import Iterable, Mapping
import itertools
import math
import re
from typing import Any

from jrt_jax.compiled import hlo
from jrt_jax.compiled.traffic import Operation
from jrt_jax.cost.layout import HEAD_AXES
from jrt_jax.cost.layout import SEQUENCE_AXES

# How many times the whole array each of n devices sends in a ring, by opcode.
_SENT = {
    'all-reduce': lambda n: 2 * (n - 1) / n,
    'all-gather': lambda n: (n - 1) / n,
    'reduce-scatter': lambda n: (n - 1) / n,
    'all-to-all': lambda n: (n - 1) / n,
    'collective-permute': lambda n: 1,
    'collective-broadcast': lambda n: 1,
}
KINDS = tuple(_SENT)


def exchanges(
    operations: Iterable[Operation],
    *,
    mesh: Mapping[str, int],
    gpus_per_node: int,
) -> list[dict[str, Any]]:
  """Returns the exchanges of a step, summed by kind and axes of the mesh.

  Devices along the axes of `layout.HEAD_AXES` have the same tokens of a batch and
  exchange activations, which grow with the tokens of a device. Devices along
  those of `layout.SEQUENCE_AXES` divide rows: they exchange states, ends of their
  parts and gradients, and keys and values of `attention` layers. Other devices
  have different rows: they exchange weights, gradients and sums over rows.

  Args:
    operations: the operations of the program, from `traffic.operations`.
    mesh: number of devices along each axis, in the order of device numbers.
    gpus_per_node: GPUs of a node; device numbers count up node by node.

  Returns:
    A list of dicts, the largest first: `kind`, `axes` (of the mesh),
    `grows_with` ('weights', 'tokens', or 'rows' where these are divided), `count`,
    `bytes` of the whole arrays, `sent` (the bytes that each device sends in a
    ring), and `between_nodes`.

  Raises:
    ValueError: the notation of the groups of devices is unknown.
  """
  sums = collections.defaultdict(collections.Counter)
  for x in operations:
    kind = kind_of(x.instruction)
    if kind is None:
      continue
    groups = _groups(x.instruction, math.prod(mesh.values()))
    between = any(len({i // gpus_per_node for i in ids}) > 1 for ids in groups)
    whole = x.count * max(x.read, x.written)
    sums[kind, _axes(groups[0], mesh), between].update(
        count=x.count,
        bytes=whole,
        sent=round(whole * _SENT[kind](len(groups[0]))),
    )
  found = [
      {
          'kind': kind,
          'axes': [*axes],
          'grows_with': _growth(axes),
          **counts,
          'between_nodes': between,
      }
      for (kind, axes, between), counts in sums.items()
  ]
  return sorted(found, key=lambda x: -x['bytes'])


def _growth(axes):
  for growth, own in (('tokens', HEAD_AXES), ('rows', SEQUENCE_AXES)):
    if {*axes} <= {*own}:
      return growth
  return 'weights'


def kind_of(instruction: hlo.Instruction) -> str | None:
  """Returns which of `KINDS` an instruction is or starts."""
  opcode = instruction.opcode.removesuffix('-start')
  return opcode if opcode in _SENT else None


def _axes(group, mesh):
  """Returns the axes of the mesh along which the members of a group differ."""
  places = [*itertools.product(*map(range, mesh.values()))]
  along = zip(*(places[i] for i in group))
  return tuple(axis for axis, own in zip(mesh, along) if len({*own}) > 1)


def _groups(instruction, num_devices):
  """Returns lists of the numbers of devices that exchange with each other."""
  text = instruction.attributes.replace('source_target_pairs', 'replica_groups')
  if match := re.search(r'replica_groups=\{(\{[\d,{}]+\})?\}', text):
    groups = re.findall(r'[\d,]+(?=\})', match[1] or '')
    return [_numbers(group) for group in groups] or [[*range(num_devices)]]
  if match := re.search(
      r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', text
  ):
    shape, dims, order = (_numbers(part or '') for part in match.groups())
    return _rows(dims, order or [*range(len(dims))], shape[-1])
  if match := re.search(
      r'replica_groups=mesh\[([^\]]+)\] \{([\w\',]+)\}', text
  ):
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", match[1]))
    axes, chosen = [*sizes], re.findall(r'\w+', match[2])
    order = [axis for axis in axes if axis not in chosen] + chosen
    return _rows(
        [int(size) for size in sizes.values()],
        [axes.index(axis) for axis in order],
        math.prod(int(sizes[axis]) for axis in chosen),
    )
  raise ValueError(
      'replica_groups must be lists, an iota or axes of a mesh, got'
      f' {text[:100]!r}'
  )


def _numbers(text):
  return [int(i) for i in text.split(',') if i]


def _rows(dims, order, size):
  """Returns rows of `arange(prod(dims))`, reshaped to dims and transposed."""
  strides = [math.prod(dims[i + 1 :]) for i in range(len(dims))]
  ranges = [range(0, dims[i] * strides[i], strides[i]) for i in order]
  ids = [sum(place) for place in itertools.product(*ranges)]
  return [ids[i : i + size] for i in range(0, len(ids), size)]
