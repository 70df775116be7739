"""Formats a budget for a terminal, in 80 columns."""

from collections.abc import Iterator, Mapping
from typing import Any

from jrt_jax.planning.budget import ALLOWANCE
from jrt_jax.planning.microbatches import SHARE
from jrt_jax.planning.microbatches import SHARES
from jrt_jax.reporting import units

_LAST = ('mlp', 'norm')  # parts that are in every layer


def table(budget: Mapping[str, Any]) -> str:
  """Returns the result of `budget.make` as text, a block for each subject."""
  parts = _setting, _model, _memory, _decoding, _time
  blocks = [part(budget) for part in parts]
  return '\n\n'.join('\n'.join(block) for block in blocks)


def row(name: str, first: str, second: str = '') -> str:
  """Returns a line of three columns."""
  return f'{name:20}{first:>20}{second:>24}'.rstrip()


def _setting(budget) -> Iterator[str]:
  gpus, batch = budget['gpus'], budget['batch']
  nodes = f'{gpus["nodes"]} x ' if gpus['nodes'] > 1 else ''
  axes = ', '.join(f'{axis} {n}' for axis, n in budget['mesh'].items())
  yield f'{nodes}{gpus["gpus_per_node"]} x {gpus["name"]} ({axes})'
  yield (
      f'{batch["sequences"]} x {batch["tokens"]} tokens a step, in microbatches'
      f' of {batch["sequences"] // batch["microbatches"]} sequences'
  )


def _model(budget) -> Iterator[str]:
  yield row('model', 'parameters', 'FLOP/token')
  parameters, flops = budget['parameters'], budget['flops_per_token']
  for part in sorted(parameters, key=_LAST.__contains__):
    name = 'embedding, logits' if part == 'embedding' else part
    yield row(name, f'{parameters[part]:,}', units.count(flops.get(part, 0)))
  total = sum(flops.values())
  yield row('all', f'{sum(parameters.values()):,}', units.count(total))


def _memory(budget) -> Iterator[str]:
  memory = budget['gpus']['gpu']['memory_gib']
  yield row('memory', 'of one copy', 'on each GPU')
  whole, own = budget['bytes'], budget['bytes_per_gpu']
  working = budget['working_bytes_per_gpu']
  for name in whole:
    yield row(name, units.size(whole[name]), units.size(own[name]))
  for name, size in working.items():
    yield row(name, '', units.size(size))
  peak = units.size(budget['peak_bytes_per_gpu'])
  yield row('peak, estimated', '', peak) + f' of {memory} GiB'
  yield from _microbatches(
      budget['microbatches'],
      memory,
      is_compiled='compiled' in budget,
  )


def _microbatches(found, memory, *, is_compiled) -> Iterator[str]:
  if not any(x['microbatch'] for x in found):
    yield (
        'This does not fit: not even one sequence fits into'
        f' {100 * SHARE:.0f} %. Raise'
    )
    yield '--config.mesh.fsdp, or --config.mesh.sequence for long rows, with more'
    yield 'GPUs if it has all of them already.'
    return
  yield ''
  most = f'on each GPU, of {SHARE * memory:.3g} GiB'
  yield row('model.remat', 'largest microbatch', most)
  for x in found:
    size, name = units.size(x['bytes']), x['remat']
    if x['microbatch'] is None:
      yield row(name, 'none', f'1 takes {size}')
    else:
      least = '' if name == 'none' else 'at least '
      microbatch = f'{x["accumulation"]} x {x["microbatch"]}'
      yield row(name, microbatch, f'{least}{size}')
  shares = ', '.join(f'{100 * x:.0f} % {who}' for who, x in SHARES.items())
  yield f'JAX uses {shares}. For remat=none the'
  yield 'compiler was within 5 %; otherwise it uses more if there is room.'
  if not is_compiled:
    yield '--compile asks the compiler.'


def _decoding(budget) -> Iterator[str]:
  states = budget['decode_state_bytes']
  yield row('decode state of', 'this model', 'attention everywhere')
  for length, own in states['model'].items():
    other = states['attention'][length]
    yield row(f'{length:,} tokens', units.size(own), units.size(other)) + (
        f' ({_number(other / own, 10)} x)'
    )


def _time(budget) -> Iterator[str]:
  run = budget['run']
  source = '(predicted)' if run['mfu_is_predicted'] else '(given)'
  yield row('time', f'at {run["mfu"]:.3g} of the peak', source)
  yield row('tokens', units.count(run['tokens']))
  yield row('tokens a second', units.count(run['tokens_per_second']))
  yield row('duration', units.duration(run['seconds']))
  yield row('GPU-hours', _number(run['gpu_hours'], 100))
  if run['dollars'] is not None:
    yield row('cost', _dollars(run['dollars']))
  if run['mfu_is_predicted']:
    yield from _prediction(budget)
  if budget['dtype'] != 'bfloat16':
    yield f'The peak is that of bfloat16; {budget["dtype"]} is slower.'
  mesh, per_node = budget['mesh'], budget['gpus']['gpus_per_node']
  together = mesh['sequence'] * mesh['tensor']
  if per_node % together:
    yield 'Heads or positions are divided among nodes, which is slower than this.'
  elif per_node % (together * mesh['fsdp']):
    yield 'Weights are divided among nodes, which is slower than this.'


def _prediction(budget) -> Iterator[str]:
  mfu, implementation = budget['run']['mfu'], budget['implementation']
  if 'compiled' in budget:
    yield f'{mfu:.3g} is {ALLOWANCE} of the upper bound of the compiled step at'
    yield 'assumed rates; no GPU has confirmed it.'
  else:
    yield f'{mfu:.3g} is {ALLOWANCE} of the upper bound from --traffic for JRT-RNN'
    yield '360M on H100s with the Hopper kernels; no GPU has confirmed it.'
    if implementation not in (None, 'mosaic_sm90'):
      yield (
          f'There is no prediction for {implementation}, which computes linear'
          ' attention here.'
      )
  if implementation == 'mosaic_sm90' and budget['implementation_is_open']:
    yield 'The run uses the kernels if they pass their check when it starts.'


def _number(x, whole):
  """Formats three significant digits; from `whole` on, only whole numbers."""
  if 0 < x < 0.01:
    return '< 0.01'
  return f'{x:,.0f}' if x >= whole else f'{x:.3g}'


def _dollars(x):
  if 0 < x < 0.01:
    return '< $0.01'
  return f'${x:,.0f}' if x >= 100 else f'${x:.2f}'
