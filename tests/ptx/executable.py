"""Runs functions of arrays, with their kernels executed as compiled PTX."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core
import jax.numpy as jnp
import numpy as np

from ptx import kernels as kernels_lib
from ptx.execute import execute

_KERNEL = 'mpmd_map'  # the primitive that Mosaic GPU lowers
# Primitives that call a function with their operands, once.
_CALLS = 'jit', 'custom_vjp_call', 'custom_jvp_call', 'custom_vmap_call'


class Executable:
  """A function whose Mosaic GPU kernels are compiled, and executed here.

  jax computes everything else in the function as usual, so that the arguments
  of its kernels need not be known.

  Attributes:
    kernels: the compiled kernels, in the order of their execution.
  """

  def __init__(
      self, function: Callable[..., Any], *shapes: Any, device: str = 'H100'
  ):
    """Traces `function` and compiles its kernels for a virtual GPU.

    Args:
      function: a function of arrays. Kernels may be inside `jit` and custom
        derivatives, but not in loops or conditions.
      *shapes: for each argument, a tree of objects with a shape and a dtype.
      device: one of `virtual_gpus.DEVICES`.

    Raises:
      NotImplementedError: a kernel is in a loop or a condition.
      RuntimeError: jax has no plugin for CUDA.
    """
    jaxpr, outputs = jax.make_jaxpr(function, return_shape=True)(*shapes)
    self._jaxpr, self._shapes = jaxpr, jax.tree.structure(shapes)
    self._structure = jax.tree.structure(outputs)
    self.kernels = tuple(_compile(x, device) for x in _kernels(jaxpr))

  def __call__(self, *arguments: Any, late: bool = False, seed: int = 0) -> Any:
    """Returns the results of the function; see `execute` for the options.

    Raises:
      ValueError: an argument has another shape or dtype than in `shapes`.
    """
    leaves = self._check(arguments)
    kernels = iter(self.kernels)

    def run(equation, values):
      written = execute(
          next(kernels),
          [np.asarray(x) for x in values],
          [x.aval for x in equation.outvars],
          late=late,
          seed=seed,
      )
      return [jnp.asarray(x) for x in written]

    values = _evaluate(self._jaxpr.jaxpr, self._jaxpr.consts, leaves, run)
    return self._structure.unflatten(values)

  def _check(self, arguments):
    """The arrays, after checking their shapes and dtypes."""
    structure = jax.tree.structure(arguments)
    if structure != self._shapes:
      raise ValueError(f'arguments must be {self._shapes}, are {structure}')
    leaves = [jnp.asarray(x) for x in jax.tree.leaves(arguments)]
    avals: list[Any] = self._jaxpr.in_avals
    for i, (leaf, aval) in enumerate(zip(leaves, avals)):
      wanted, actual = (f'{x.dtype}{list(x.shape)}' for x in (aval, leaf))
      if actual != wanted:
        raise ValueError(f'array {i} must be {wanted}, is {actual}')
    return leaves


def _kernels(jaxpr: core.Jaxpr) -> Iterator[core.JaxprEqn]:
  """The equations that are kernels, including those in called functions."""
  for equation in jaxpr.eqns:
    if equation.primitive.name == _KERNEL:
      yield equation
    elif function := _called(equation):
      yield from _kernels(function)


def _called(equation):
  """The function that an equation calls, if it contains kernels."""
  name = equation.primitive.name
  functions = list(core.jaxprs_in_params(equation.params))
  if not any(list(_kernels(function)) for function in functions):
    return None
  if name not in _CALLS or len(functions) != 1:
    raise NotImplementedError(f'kernels must not be inside {name}')
  return functions[0]


_compiled = {}  # by text: jax 0.12 reports only the first of equal kernels


def _compile(equation, device):
  def launch(*arguments):
    return equation.primitive.bind(*arguments, **equation.params)

  shapes = [
      jax.ShapeDtypeStruct(x.aval.shape, x.aval.dtype) for x in equation.invars
  ]
  text = device, str(jax.make_jaxpr(launch)(*shapes))
  if text not in _compiled:
    program = kernels_lib.compile_for(device, launch, *shapes)
    (_compiled[text],) = program.kernels
  return _compiled[text]


def _evaluate(jaxpr, constants, arguments, run):
  """Evaluates equation by equation; `run` does so for kernels."""
  values = dict(
      zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments])
  )

  def read(x):
    return x.val if isinstance(x, core.Literal) else values[x]

  for equation in jaxpr.eqns:
    inputs = [read(x) for x in equation.invars]
    if equation.primitive.name == _KERNEL:
      outputs = run(equation, inputs)
    elif function := _called(equation):
      outputs = _evaluate(function, function.consts, inputs, run)
    else:
      outputs = equation.primitive.bind(
          *inputs, **equation.primitive.get_bind_params(equation.params)
      )
    if not equation.primitive.multiple_results:
      outputs = [outputs]
    values.update(zip(equation.outvars, outputs))
  return [read(x) for x in jaxpr.outvars]
