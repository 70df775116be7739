"""What the devices of a compiled train step exchange."""

import collections
from collections.abc import Iterable, Mapping
import itertools
import math
import re
from typing import Any

from jrt_jax.compiled import hlo
from jrt_jax.compiled.traffic import Operation
from jrt_jax.cost.layout import HEAD_AXES

# How often each of n devices sends what there is, in a ring; by opcode.
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
  """Returns what is exchanged in a step, summed up by kind and axes of the mesh.

  Devices along the axes of `layout.HEAD_AXES` have the same rows of a batch, and
  exchange activations, which grow with the tokens of a device. Others have rows
  of their own: they exchange weights, gradients and sums over rows.

  Args:
    operations: of the program, from `traffic.operations`.
    mesh: devices along each axis, in the order of their numbers.
    gpus_per_node: the numbers count up node by node.

  Returns:
    The largest first; of each `kind`, `axes` (of the mesh), `grows_with`
    (weights or tokens), `count`, `bytes` of the whole arrays, `sent`, what each
    device sends of them in a ring, and `between_nodes`.

  Raises:
    ValueError: the text says in an unknown way which devices take part.
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
          'grows_with': 'tokens' if {*axes} <= {*HEAD_AXES} else 'weights',
          **counts,
          'between_nodes': between,
      }
      for (kind, axes, between), counts in sums.items()
  ]
  return sorted(found, key=lambda x: -x['bytes'])


def kind_of(instruction: hlo.Instruction) -> str | None:
  """Returns which of `KINDS` an instruction is or starts."""
  opcode = instruction.opcode.removesuffix('-start')
  return opcode if opcode in _SENT else None


def _axes(group, mesh):
  """Along which axes of the mesh the members of a group differ."""
  places = [*itertools.product(*map(range, mesh.values()))]
  along = zip(*(places[i] for i in group))
  return tuple(axis for axis, own in zip(mesh, along) if len({*own}) > 1)


def _groups(instruction, num_devices):
  """Lists of the numbers of devices that exchange with one another."""
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
  """The numbers from 0 on as an array [dims], its axes in `order`, in rows."""
  strides = [math.prod(dims[i + 1 :]) for i in range(len(dims))]
  ranges = [range(0, dims[i] * strides[i], strides[i]) for i in order]
  ids = [sum(place) for place in itertools.product(*ranges)]
  return [ids[i : i + size] for i in range(0, len(ids), size)]
