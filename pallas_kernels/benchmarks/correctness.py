"""Compares the kernels with the definition, before anything is timed.

The expected results are those of the definition in float64 on the host, or for
long sequences of the chunked form in float32 on the device. Each repetition has
new inputs, and the memory for results is filled with NaN first. With equal
inputs, all repetitions must be equal bit for bit.
"""

from collections.abc import Callable, Mapping
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import pallas_kernels
from pallas_kernels import testing
from pallas_kernels.benchmarks import goals
from pallas_kernels.benchmarks import inputs as inputs_lib
from pallas_kernels.benchmarks.case import Case
from pallas_kernels.benchmarks.case import Settings
from pallas_kernels.benchmarks.roofline import D
from pallas_kernels.benchmarks.roofline import Workload
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles

VALUE_WIDTHS = 64, 112, 128
DIRECTIONS = 'forward', 'gradients'
TOLERANCE = {'forward': 5e-3, 'gradients': 1e-2}  # relative, Frobenius
FRESH = 3  # inputs that are compared with the expected results
EQUAL = 20  # repetitions on the same inputs


class Mode(NamedTuple):
  """The sizes and the arguments of the operation."""

  B: int
  L: int
  P: int
  H: int = 2
  lengths: tuple[int, ...] | None = None  # of the prefixes; None is P
  states: bool = False  # whether an initial state is given
  final: bool = True  # whether the final state is asked for
  exact: bool = True  # whether the truth is computed in float64, O(L²)
  split: bool = False  # whether the default tiles split the sequence
  packed: bool = False  # whether there are documents and padding


# As in training, kernels leave out what is neither given nor asked for.
MODES = {
    'causal': Mode(B=2, L=512, P=0, final=False),
    'prefix': Mode(B=2, L=512, P=256, final=False),
    'causal-prefill': Mode(B=2, L=512, P=0),
    'ragged': Mode(B=4, L=333, P=200, lengths=(200, 77, 1, 0), states=True),
    'split': Mode(B=1, L=2048, P=1000, lengths=(900,), states=True, split=True),
    'long': Mode(B=1, L=32768, P=16384, exact=False, split=True),
}
MODES |= {
    f'packed-{name}': MODES[name]._replace(packed=True)
    for name in ('prefix', 'ragged', 'split')
}

_TINY = Mode(B=2, L=6, P=4, lengths=(3, 0), states=True)


def cases(settings: Settings) -> list[Case]:
  """All modes of the kernels with default tiles, forward first."""
  return [
      Case(
          row_name(V, mode, direction),
          functools.partial(check, settings, V, mode, direction),
      )
      for V in settings.few(VALUE_WIDTHS)
      for mode, direction in checks()
  ]


def checks() -> list[tuple[str, str]]:
  """All checks: each mode forward, then its gradients."""
  return [(mode, direction) for direction in DIRECTIONS for mode in MODES]


def row_name(V: int, mode: str, direction: str) -> str:
  return f'V{V} {mode} {direction}'


def check(
    settings: Settings,
    V: int,
    mode: str,
    direction: str,
    tiles: mosaic_sm90_tiles.Tiles = mosaic_sm90_tiles.Tiles(),
) -> dict[str, Any]:
  """Returns a row with the largest relative error of every result.

  Args:
    mode: one of `MODES`.
    direction: 'forward' for outputs and state, or 'gradients' of all floats.

  Returns:
    The row, with an 'error' if the kernels are wrong.
  """
  sizes = MODES[mode]
  if settings.rehearse:
    sizes = _TINY._replace(
        exact=sizes.exact, packed=sizes.packed, final=sizes.final
    )
  given = {} if settings.rehearse else {'tiles': tiles}
  count = settings.repetitions(EQUAL)
  errors, equal = compare(
      program(settings.implementation, direction, **given),
      *(sizes, V, direction),
      fresh=settings.repetitions(FRESH),
      repetitions=count,
  )
  row = {
      'workload': row_name(V, mode, direction),
      'implementation': goals.OURS,
      'errors': errors,
      'worst': max(errors.values(), key=_nan_is_most),
      'equal_repetitions': f'{equal} of {count}',
  }
  wrong = what_is_wrong(direction, errors, equal, count)
  return row | ({'error': wrong} if wrong else {})


def compare(
    function: Callable[..., Any],
    mode: Mode,
    V: int,
    direction: str,
    *,
    fresh: int,
    repetitions: int,
) -> tuple[dict[str, float], int]:
  """Runs a `program`, in memory full of NaN, and compares its results.

  Args:
    function: the result of `program`.
    direction: one of `DIRECTIONS`.
    fresh: how many inputs are compared with the expected results.
    repetitions: how often the last input is computed again.

  Returns:
    The largest relative error of each result, by name, and how many of the
    repetitions were equal bit for bit.
  """
  errors = {}
  for seed in range(fresh):
    arguments = make_arguments(mode, V, seed)
    found = _poisoned(function, arguments)
    for name, error in _errors(found, _truth(mode, direction, arguments)):
      errors[name] = max(error, errors.get(name, 0.0), key=_nan_is_most)
  equal = sum(
      _same_bits(_poisoned(function, arguments), found)
      for _ in range(repetitions)
  )
  return errors, equal


def what_is_wrong(
    direction: str, errors: Mapping[str, float], equal: int, repetitions: int
) -> str | None:
  """Returns what is wrong with the compared results; None if nothing is."""
  limit = TOLERANCE[direction]
  wrong = [
      f'{name} differs by {error:.2g}, more than {limit:.2g}'
      for name, error in errors.items()
      if not error <= limit
  ]
  if equal < repetitions:
    wrong.append(f'only {equal} of {repetitions} repetitions are equal')
  return '; '.join(wrong) or None


def workload(mode: Mode, V: int) -> Workload:
  """The sizes of a mode."""
  return Workload(B=mode.B, H=mode.H, L=mode.L, P=mode.P, V=V)


def make_arguments(mode: Mode, V: int, seed: int) -> Mapping[str, Any]:
  """Arguments of the operation, and cotangents of its results.

  Returns:
    'inputs', arguments by name, and 'cotangents' of outputs and of the final
    state, or None if it is not asked for.
  """
  w = workload(mode, V)
  arrays = inputs_lib.prefix_linear_attention(w, seed)
  dy = arrays.pop('dy')
  if mode.lengths:
    arrays['prefix_len'] = jnp.asarray(mode.lengths, jnp.int32)
  if mode.packed:
    arrays |= inputs_lib.documents(w, seed)
  dstate = None
  if mode.final:
    dstate = pallas_kernels.zero_state(w.B, w.H, D, V, 'taylor_exp')
  if mode.states:
    past = inputs_lib.prefix_linear_attention(
        w._replace(L=3, P=0), seed + FRESH
    )
    del past['dy']
    _, arrays['initial_state'] = _call(past, True, 'reference')
    dstate = jax.tree.map(
        lambda x: jax.random.normal(jax.random.key(seed), x.shape), dstate
    )
  return {'inputs': arrays, 'cotangents': (dy, dstate)}


@functools.partial(jax.jit, static_argnums=(1, 2), static_argnames='tiles')
def _call(inputs, final, implementation, **tiles):
  """Outputs, and the final state or None."""
  found = pallas_kernels.prefix_linear_attention(
      **inputs, return_state=final, implementation=implementation, **tiles
  )
  return found if final else (found, None)


@functools.cache
def program(
    implementation: str, direction: str, **tiles: mosaic_sm90_tiles.Tiles
) -> Callable[..., Any]:
  """A compiled function of the result of `make_arguments`; it names results."""

  @jax.jit
  def results(arguments):
    final = arguments['cotangents'][1] is not None
    forward = lambda inputs: _call(inputs, final, implementation, **tiles)
    if direction == 'forward':
      y, state = forward(arguments['inputs'])
      return {'y': y} | _named('state', state)
    _, gradients = inputs_lib.with_gradients(
        forward,
        arguments['inputs'],
        jax.tree.map(
            # In float64 the state is as well.
            lambda x, like: x.astype(like.dtype),
            arguments['cotangents'],
            jax.eval_shape(forward, arguments['inputs']),
        ),
    )
    return gradients | _named(
        'initial_state', gradients.pop('initial_state', None)
    )

  return results


def _named(name, state):
  """The parts of a state by name; none for None."""
  return {} if state is None else {f'{name}.kv': state.kv, f'{name}.k': state.k}


def _truth(mode, direction, arguments):
  """The expected results, as exact as possible."""
  if not mode.exact:
    return program('chunked', direction)(_floats(arguments, jnp.float32))
  host = jax.local_devices(backend='cpu')[0]
  with jax.default_device(host), jax.enable_x64(True):
    arguments = jax.tree.map(np.asarray, arguments)
    arguments = jax.device_put(_floats(arguments, np.float64), host)
    return program('reference', direction)(arguments)


def _floats(arguments, dtype):
  """Converts everything except integers and states to the dtype."""
  is_vector = lambda x: x.dtype == jnp.bfloat16
  return jax.tree.map(
      lambda x: x.astype(dtype) if is_vector(x) else x, arguments
  )


def _poisoned(function, arguments):
  """Runs the function in memory that has been filled with NaN."""
  shapes = jax.eval_shape(function, arguments)
  # Twice: for results, and for temporary arrays.
  poison = [
      jnp.full(x.shape, jnp.nan, x.dtype)
      for x in jax.tree.leaves(shapes)
      for _ in range(2)
  ]
  jax.block_until_ready(poison)
  for x in poison:
    x.delete()
  return jax.block_until_ready(function(arguments))


def _errors(found, truth):
  assert found.keys() == truth.keys(), (found.keys(), truth.keys())
  for name, x in found.items():
    yield name, testing.relative_error(x, truth[name])


def _same_bits(xs, ys):
  return all(np.array_equal(xs[name], ys[name]) for name in ys)


def _nan_is_most(x):
  return np.inf if np.isnan(x) else x
