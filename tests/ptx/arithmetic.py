"""Integers, floats and predicates, lane by lane."""

import numpy as np

from ptx.errors import Violation

INTEGERS = {
    f'{kind}{bits}': np.dtype(f'{letter}{bits // 8}')
    for kind, letter in (('b', 'u'), ('u', 'u'), ('s', 'i'))
    for bits in (16, 32, 64)
}
TYPES = INTEGERS | {'f32': np.dtype(np.float32)}
_WIDER = {
    'u16': np.uint32, 's16': np.int32, 'u32': np.uint64, 's32': np.int64,
}  # fmt: skip
_COMPARISONS = {
    'eq': np.equal,
    'ne': np.not_equal,
    'lt': np.less,
    'le': np.less_equal,
    'gt': np.greater,
    'ge': np.greater_equal,
}
_COMPARISONS_OF_FLOATS = _COMPARISONS | {
    'ne': lambda x, y: (x < y) | (x > y),  # false for NaN
    'neu': np.not_equal,
}
_COMBINATIONS = {
    'and': np.bitwise_and,
    'or': np.bitwise_or,
    'xor': np.bitwise_xor,
}


def _each(function, dtype):
  """An instruction that computes `function` of operands of `dtype`."""

  def run(group, target, *sources):
    values = [group.read(x, dtype) for x in sources]
    with np.errstate(all='ignore'):
      result = function(*values)
    group.write(target, np.asarray(result, dtype))

  return run


def _fused(x, y, z):
  # The product of two float32 is exact in float64.
  return (x.astype(np.float64) * y + z).astype(np.float32)


def _wide(dtype):
  def run(group, target, x, y):
    x, y = (
        group.read(a, INTEGERS[dtype]).astype(_WIDER[dtype]) for a in (x, y)
    )
    group.write(target, x * y)

  return run


def _high(x, y):
  bits = 8 * x.dtype.itemsize
  product = x.astype(object) * y.astype(object) >> bits
  return product.astype(x.dtype)


def _shift(function, dtype):
  def run(group, target, value, amount):
    x, n = group.read(value, dtype), group.read(amount, np.uint32)
    bits = 8 * dtype.itemsize
    shifted = function(x, np.minimum(n, bits - 1).astype(dtype))
    if dtype.kind == 'u':  # only a sign bit is extended
      shifted = np.where(n < bits, shifted, 0).astype(dtype)
    group.write(target, shifted)

  return run


def _extract(dtype):
  """Bits `start` to `start + length` of a word."""

  def run(group, target, value, start, length):
    x = group.read(value, dtype)
    start = group.read(start, np.uint32).astype(dtype)
    length = group.read(length, np.uint32).astype(dtype)
    one = dtype.type(1)
    group.write(target, (x >> start) & ((one << length) - one))

  return run


def _predicate(group, operand):
  if isinstance(operand, tuple):
    negation, operand = operand
    if negation != '!':
      raise Violation(f'{operand} is not a predicate')
    return ~group.read(operand, bool)
  return group.read(operand, bool)


def _compare(comparison, dtype, combine=None):
  def run(group, target, x, y, other=None):
    with np.errstate(invalid='ignore'):
      result = comparison(group.read(x, dtype), group.read(y, dtype))
    if combine:
      result = combine(result, _predicate(group, other))
    group.write(target, result)

  return run


def _comparisons(dtype):
  return _COMPARISONS_OF_FLOATS if dtype.kind == 'f' else _COMPARISONS


def _select(dtype):
  def run(group, target, x, y, predicate):
    chosen = group.read(predicate, bool)
    group.write(
        target, np.where(chosen, *(group.read(a, dtype) for a in (x, y)))
    )

  return run


def _logic(function):
  def run(group, target, *sources):
    group.write(target, function(*(_predicate(group, x) for x in sources)))

  return run


def _by_type(dtypes, **functions):
  """Instructions of these names, with the types as suffixes."""
  return {
      f'{name.replace("_", ".")}.{dtype}': _each(function, TYPES[dtype])
      for name, function in functions.items()
      for dtype in dtypes.split()
  }


INSTRUCTIONS = {
    **_by_type(
        's16 u16 s32 u32 s64 u64',
        add=np.add,
        sub=np.subtract,
        mul_lo=np.multiply,
        mul_hi=_high,
        mad_lo=lambda x, y, z: x * y + z,
        min=np.minimum,
        max=np.maximum,
    ),
    **_by_type('s16 s32 s64', neg=np.negative, abs=np.abs),
    **_by_type(
        'b16 b32 b64',
        **{'and': np.bitwise_and, 'or': np.bitwise_or, 'xor': np.bitwise_xor},
        **{'not': np.invert},
    ),
    **_by_type(
        'f32',
        add=np.add,
        add_rn=np.add,
        sub=np.subtract,
        sub_rn=np.subtract,
        mul=np.multiply,
        mul_rn=np.multiply,
        fma_rn=_fused,
        # Without .NaN, a number wins over NaN.
        max=np.fmax,
        max_NaN=np.maximum,
        min=np.fmin,
        min_NaN=np.minimum,
        neg=np.negative,
        abs=np.abs,
        # Exact here; the hardware errs in the last bits.
        div_full=np.divide,
        div_rn=np.divide,
        rcp_approx=np.reciprocal,
        rcp_rn=np.reciprocal,
    ),
    **{f'mul.wide.{t}': _wide(t) for t in _WIDER},
    **{
        f'shl.{t}': _shift(np.left_shift, INTEGERS[t])
        for t in ('b16', 'b32', 'b64')
    },
    **{
        f'shr.{t}': _shift(np.right_shift, dtype)
        for t, dtype in INTEGERS.items()
    },
    **{f'bfe.{t}': _extract(INTEGERS[t]) for t in ('u32', 'u64')},
    **{
        f'setp.{name}.{t}': _compare(comparison, dtype)
        for t, dtype in TYPES.items()
        for name, comparison in _comparisons(dtype).items()
    },
    **{
        f'setp.{name}.{how}.{t}': _compare(comparison, dtype, combine)
        for t, dtype in TYPES.items()
        for name, comparison in _comparisons(dtype).items()
        for how, combine in _COMBINATIONS.items()
    },
    **{f'selp.{t}': _select(dtype) for t, dtype in TYPES.items()},
    **{f'{how}.pred': _logic(f) for how, f in _COMBINATIONS.items()},
    'not.pred': _logic(np.invert),
}
