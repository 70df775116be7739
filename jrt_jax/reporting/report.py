"""The texts that a run prints before its first and after its last step."""

from collections.abc import Mapping, Sequence
import statistics
from typing import Any

import jax

import jrt_jax
from jrt_jax import cost
from jrt_jax.cost import estimate
from jrt_jax.cost import mixers
from jrt_jax.cost import training_memory
from jrt_jax.reporting import tables
from jrt_jax.reporting import units

# Epochs without a warning. Up to so many, repeated text was nearly as good as new
# text in Muennighoff et al. 2023, https://arxiv.org/abs/2305.16264.
_EPOCHS = 4
_PATIENCE = 30 * 86_400  # seconds that a run may take without a warning


def plan(
    config: Mapping[str, Any],
    *,
    mesh: jax.sharding.Mesh,
    accumulation: int,
    tokenizer,
    train_tokens: int | None,
    data_rate: float,
    mean_prefix: float,
    has_masks: bool,
    dtype: str,
    matmul_rate: float,
    sources: Sequence[tuple[str, float, int]] = (),
) -> str:
  """Returns the plan of a run, as a table of facts.

  Args:
    accumulation: number of microbatches in a batch.
    train_tokens: number of training tokens; None for synthetic tasks.
    data_rate: tokens a second that the data pipeline delivers.
    mean_prefix: mean length of the prefix of a sequence.
    has_masks: whether masked tokens have a loss.
    dtype: the dtype in which these devices compute.
    matmul_rate: FLOP/s of the devices, from `throughput.matmul_rate`.
    sources: of each part of a mixture, its name, its share of the trained
      tokens and its number of tokens.
  """
  model = config['model']
  parts = cost.parameters(model)
  total = sum(parts.values())
  batch, length = config['batch_size'], config['sequence_length']
  tokens = estimate.tokens(config)
  flops = estimate.flops_per_token(config, mean_prefix)
  rate = estimate.tokens_per_second(config, matmul_rate, mean_prefix)
  seconds = tokens / rate
  devices = list(mesh.devices.flat)
  own = training_memory.state_bytes(config, mesh.shape, accumulation)
  by_part = ', '.join(f'{k} {units.count(n)}' for k, n in parts.items())
  axes = ', '.join(f'{axis} {n}' for axis, n in mesh.shape.items())
  axes = f' ({axes})' if len(devices) > 1 else ''
  amount, epochs = 'samples are drawn', ''
  if train_tokens:
    amount = f'{units.count(train_tokens)} tokens'
    if not sources:
      epochs = f' ({tokens / train_tokens:.3g} epochs)'
  lines = {
      'software': f'jrt_jax {jrt_jax.__version__}, jax {jax.__version__}',
      'devices': f'{len(devices)} x {devices[0].device_kind}{axes}',
      'parameters': f'{total:,} ({by_part})',
      'decode state': _decode_state(config, units.size),
      'compute': f'{units.flop(flops)} per trained token',
      'data': (
          f'{config["data"]["source"]}: {amount}; the tokenizer has'
          f' {tokenizer.size:,} ids, the model {model["vocab_size"]:,}'
      ),
      'training': (
          f'{config["steps"]:,} steps x {batch} sequences x {length} tokens ='
          f' {units.count(tokens)} tokens{epochs}'
      ),
      **_of_sources(sources, tokens),
      'prefix': (
          f'{config["prefix"]["name"]}: {mean_prefix:,.0f} of {length:,} tokens'
          ' on average'
      ),
      'loss': _loss(config['objective'], has_masks),
      'microbatches': (
          f'{accumulation} in a step; sequences in each:'
          f' {batch // accumulation}'
      ),
      'memory': (
          f'{units.size(sum(own.values()))} on each device for weights,'
          ' gradients and moments of the optimizer; activations take more'
      ),
      'expected time': (
          f'{units.duration(seconds)}, if training reaches'
          f' {units.count(rate)} tokens/s: {estimate.UTILIZATION:.0%} of the'
          f' measured speed of products of {dtype} matrices'
      ),
      'data loading': f'{units.count(data_rate)} tokens/s'
      + (', too slow for training' if data_rate < rate else ''),
  }
  if dtype != model['dtype']:
    lines['dtype'] = (
        f'{dtype}, as always on a CPU; the recorded config has'
        f' {model["dtype"]}, for other devices'
    )
  if seconds > _PATIENCE:
    lines['warning'] = (
        'the expected time is longer than a month: use more or faster devices,'
        ' lower --config.steps, or train a smaller model (configs/jrt_tiny.py'
        ' takes minutes on a CPU)'
    )
  return tables.aligned(lines.items())


def demonstration(config: Mapping[str, Any], tokenizer) -> str | None:
  """Returns a remark if the data is far too little for the model, or None."""
  data, ids = config['data'], config['model']['vocab_size']
  if data['source'] != 'python_stdlib' or ids <= 2 * tokenizer.size:
    return None
  return (
      f'This is a demonstration: only {tokenizer.size} of {ids:,} ids occur in'
      " the source\nfiles of Python's standard library. For real data, make shards"
      '\n(python -m jrt_jax.data.prepare) and pass\n  --config.data.source=shards'
      ' --config.data.path=DIR\n  --config.data.tokenizer=DIR/tokenizer.json'
  )


def result(
    config: Mapping[str, Any],
    *,
    held_out: Mapping[str, str],
    tokens_per_second: Sequence[float],
    goodput: Mapping[str, str],
    sample: tuple[str, str] | None,
) -> str:
  """Returns the closing table and a sample of text.

  Args:
    held_out: the lines of the last evaluation, by name.
    tokens_per_second: the speed between logs; their median is shown, so that a
      machine that was busy for a moment does not matter. Empty if no step ran.
    goodput: lines about the time that the run has taken, by name.
    sample: the end of a prompt and its continuation by the model; None if the
      data is not text.
  """
  speed = 'not measured (no steps were left)'
  if tokens_per_second:
    speed = f'{statistics.median(tokens_per_second):,.0f} tokens/s'
  model = config['model']
  lines = {
      **held_out,
      'training speed': speed,
      **goodput,
      'parameters': f'{sum(cost.parameters(model).values()):,}',
      'decode state': _decode_state(config, '{:,} bytes'.format),
  }
  table = tables.aligned(lines.items())
  if sample is None:
    return table
  prompt, continuation = sample
  return (
      f'{table}\n\nA held-out prompt, continued by the model after ▶:\n'
      f'…{prompt}▶{continuation}'
  )


def _of_sources(sources, tokens):
  """Returns the lines of a mixture, and a warning of texts read too often."""
  lines, repeated = {}, []
  for name, share, own in sources:
    epochs = share * tokens / own
    lines[f'from {name}'] = (
        f'{share:.1%} = {units.count(share * tokens)} tokens, {epochs:.3g}'
        f' epochs of {units.count(own)}'
    )
    if epochs > _EPOCHS:
      repeated.append(name)
  if repeated:
    lines['repetition'] = (
        f'warning: {", ".join(repeated)} will be read more than {_EPOCHS} times,'
        ' from where on new text teaches much more than repeated text'
        ' (https://arxiv.org/abs/2305.16264)'
    )
  return lines


def _decode_state(config, unit):
  model, length = config['model'], config['sequence_length']
  size = unit(cost.state_bytes(model, length=length))
  grows = mixers.state_grows(model)
  return f'{size} per sequence, at ' + (
      f'{length} tokens' if grows else 'any length'
  )


def _loss(objective, has_masks):
  """Returns the loss that training minimises, in words."""
  words = 'of next tokens'
  if has_masks:
    words += f' + {objective["mlm_weight"]:g} x that of masked tokens'
  words += ', in nats per token'
  if objective['z_loss']:
    words += f'; each with {objective["z_loss"]:g} x log²Z of its label'
  return words
