"""Formats the figures of a compiled train step for a terminal; 80 columns."""

from collections.abc import Iterator, Mapping
from typing import Any

from jrt_jax.planning.budget_table import row
from jrt_jax.planning.microbatches import SHARES
from jrt_jax.reporting import units

_LITTLE = 2**20  # exchanges of fewer bytes are not shown
# Prefixes of the names of kernels, by what they compute.
_KERNELS = {
    'linear attention': 'prefix_linear_attention_',
    'cuDNN': '__cudnn$fmha',
}


def table(budget: Mapping[str, Any], *, with_traffic: bool) -> str:
  """Returns `budget['compiled']` as text, a block for each subject.

  Args:
    budget: from `budget.make`, with the result of `aot.describe`.
    with_traffic: whether to include times and the bytes moved.
  """
  parts = [_memory, _exchanges, *([_time, _traffic] if with_traffic else [])]
  return '\n\n'.join('\n'.join(part(budget)) for part in parts)


def _memory(budget) -> Iterator[str]:
  compiled, gpu = budget['compiled'], budget['gpus']['gpu']
  sizes = compiled['bytes']
  yield row('compiled', '', 'on each GPU')
  yield row('state and batch', '', units.size(sizes['state']))
  yield row('temporary', '', units.size(sizes['temporary']))
  peak = units.size(sizes['peak'])
  yield row('peak', '', peak) + f' of {gpu["memory_gib"]} GiB'
  yield _fit(sizes['peak'], gpu['memory_gib'] * 2**30)
  for name, start in _KERNELS.items():
    if counts := _launches(compiled['kernels'], start):
      yield f'{name:20}  {counts} in a step'
  if budget['implementation'] not in (None, 'mosaic_sm90'):
    yield f'Linear attention has no kernels in {budget["implementation"]}.'


def _fit(peak, memory):
  for said, share in SHARES.items():
    spare = share * memory - peak
    if spare >= 0:
      return (
          f'It fits into the {100 * share:.0f} % that JAX uses {said}:'
          f' {units.size(spare)} to spare.'
      )
  missing = units.size(-spare)
  return (
      f'It does not fit into {100 * share:.0f} % of the memory: {missing} too'
      ' much.'
  )


def _launches(kernels, start):
  own = {x.removeprefix(start): n for x, n in kernels.items() if start in x}
  return ', '.join(f'{n} {name}' for name, n in own.items())


_GROWTH = {
    'weights': 'in proportion to its weights, however long the sequence:',
    'tokens': 'in proportion to the tokens of a microbatch:',
    'rows': 'among devices that divide rows; only attention grows with length:',
}


def _exchanges(budget) -> Iterator[str]:
  found = [x for x in budget['compiled']['exchanges'] if x['sent'] > _LITTLE]
  if not found:
    yield f'Each GPU sends less than {units.size(_LITTLE)} in a step.'
    return
  yield 'sent by each GPU in a step'
  for grows_with, words in _GROWTH.items():
    lines = [_exchange(x) for x in found if x['grows_with'] == grows_with]
    yield from [words, *lines] if lines else []
  yield 'With n GPUs each sends (n - 1) / n of an array, and twice that in an'
  yield 'all-reduce: hardly more with more GPUs.'


def _exchange(x):
  where = ', between nodes' if x['between_nodes'] else ''
  axes = ', '.join(x['axes'])
  return _amount(x['sent'], x['count']) + f'{x["kind"]} ({axes}){where}'


def _amount(num_bytes, count):
  return f'{units.size(num_bytes):>9}{count:>6} x  '


def _time(budget) -> Iterator[str]:
  traffic, batch = budget['compiled']['traffic'], budget['batch']
  yield _columns('a step, at least', 'bytes moved', 'FLOPs', 'time')
  for kind, x in traffic['kinds'].items():
    if kind != 'collectives':
      flops = units.count(x['flops']) if x['flops'] else ''
      yield _columns(kind, units.size(x['bytes']), flops, _ms(x['seconds']))
  yield _columns('all', '', '', _ms(traffic['seconds']))
  tokens = batch['sequences'] * batch['tokens']
  total = budget['run']['tokens'] / tokens * traffic['seconds']
  yield (
      f'At most {units.count(traffic["tokens_per_second"])} tokens a second,'
      f' {traffic["mfu"]:.3f} of the peak; at least'
      f' {units.duration(total)} in all.'
  )
  flops, bandwidth = traffic['rates'].values()
  yield (
      f'This prediction assumes {flops / 1e12:.0f} TFLOP/s and'
      f' {bandwidth / 1e12:.1f} TB/s for each GPU.'
  )
  yield 'Not counted: exchanges, waiting, caches, FLOPs of attention kernels.'


def _columns(name, *others):
  return f'{name:20}' + ''.join(f'{x:>14}' for x in others)


def _ms(seconds):
  return f'{1e3 * seconds:.1f} ms'


def _traffic(budget) -> Iterator[str]:
  yield 'fusions that move the most, on each GPU in a step'
  for x in budget['compiled']['traffic']['most_moved']:
    amount = _amount(x['read'] + x['written'], x['kernels'])
    yield f'{amount}{x["source"] or "(XLA)"} {x["operation"]}'[:80]
