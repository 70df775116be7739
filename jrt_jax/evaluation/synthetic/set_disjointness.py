"""What a state must hold to find the one element that two sets share.

A model that reads A and then B once has to keep A. A model that sees both, or
reads them twice, can keep the smaller one. Nothing is trained: the states are
sums of random features, as in linear attention, and programs count elements.

Source: Arora et al. 2024, section 3 and appendix G (bounds, and definition G.17
of the features), https://arxiv.org/abs/2407.05483.
"""

from typing import NamedTuple

import numpy as np

from jrt_jax.evaluation.synthetic import probes
from jrt_jax.evaluation.synthetic import set_programs

VOCABULARY = 2048
NUM_EXAMPLES = 300

_SIZES = ((4, 64), (64, 4), (4, 256), (256, 4), (16, 256), (256, 16))
_WIDTHS = (64, 128, 512)  # D of the states
_GROWING = ((4, 64), (16, 64), (64, 64), (256, 64))
_REVERSED = (64, 256)
_OTHERS = "control: another's state"
_CAUSAL, _NON_CAUSAL = (f'smallest D, {x}' for x in ('causal', 'non-causal'))


class Examples(NamedTuple):
  """Pairs of sets; each pair shares one element."""

  a: np.ndarray  # int [N, |A|]
  b: np.ndarray  # int [N, |B|]
  answer: np.ndarray  # int [N], the shared element

  def tokens(self) -> np.ndarray:
    """`1 A 2 B 3`, int [N, |A| + |B| + 3]."""
    mark = lambda token: np.full((len(self.answer), 1), token)
    first, second = mark(set_programs.FIRST), mark(set_programs.SECOND)
    parts = first, self.a, second, self.b, mark(set_programs.END)
    return np.concatenate(parts, axis=1)

  def smaller_first(self) -> 'Examples':
    """Returns the same sets with the smaller one as A."""
    if self.a.shape[1] <= self.b.shape[1]:
      return self
    return Examples(self.b, self.a, self.answer)


def draw(
    rng: np.random.Generator, num_examples: int, sizes: tuple[int, int]
) -> Examples:
  """Draws sets of these sizes from the whole vocabulary, in random order.

  If each set came from its own half of the vocabulary, as in the paper's
  algorithm 1, the answer would be the only element of B from the half of A.
  """
  size_a, size_b = sizes
  drawn = rng.random((num_examples, VOCABULARY - 4)).argsort(axis=1) + 4
  only_b = drawn[:, size_a : size_a + size_b - 1]
  b = np.concatenate([drawn[:, :1], only_b], axis=1)
  a = rng.permuted(drawn[:, :size_a], axis=1)
  return Examples(a, rng.permuted(b, axis=1), drawn[:, 0])


def features(rng: np.random.Generator, width: int) -> np.ndarray:
  """Random signs / √D, float32 [V, D]: norms are 1, products are near 0."""
  signs = rng.choice(np.array([-1, 1], np.float32), (VOCABULARY, width))
  return signs / np.float32(width**0.5)


def accuracy(phi: np.ndarray, examples: Examples) -> float:
  """Returns how often the state of A identifies the shared element in B.

  The state is the sum of the features of A. It identifies the element of B with
  the largest product.

  Args:
    phi: [V, D], the features of every id.
    examples: examples; the state stores A.
  """
  a, b, answer = examples
  is_stored = np.zeros((len(a), len(phi)), phi.dtype)
  np.put_along_axis(is_stored, a, 1, axis=1)
  scores = (is_stored @ phi) @ phi.T
  best = np.take_along_axis(scores, b, axis=1).argmax(axis=1)
  return float((b[np.arange(len(b)), best] == answer).mean())


def smallest_width(
    rng: np.random.Generator, examples: Examples, *, target: float = 0.9
) -> int:
  """Returns the first power of two D whose states reach an accuracy."""
  width = 8
  while accuracy(features(rng, width), examples) < target:
    width *= 2
  return width


def _measure(rng: np.random.Generator) -> probes.Figures:
  figures = {}
  drawn = {sizes: draw(rng, NUM_EXAMPLES, sizes) for sizes in _SIZES}
  for width in _WIDTHS:
    phi = features(rng, width)
    for sizes, examples in drawn.items():
      figures[f'causal, D = {width}', f'{sizes}'] = accuracy(phi, examples)
    for sizes, examples in drawn.items():
      figures[f'non-causal, D = {width}', f'{sizes}'] = accuracy(
          phi, examples.smaller_first()
      )
  for sizes, examples in drawn.items():
    others = examples.smaller_first()
    others = others._replace(a=np.roll(others.a, 1, axis=0))
    figures[_OTHERS, f'{sizes}'] = accuracy(phi, others)
  for sizes in _SIZES:
    figures['chance, in the smaller set', f'{sizes}'] = 1 / min(sizes)
  return figures | _kept(drawn) | _smallest_widths(rng)


def _kept(drawn):
  """Elements that programs keep: the maximum of ten examples of each size."""
  figures = {}
  for name, program in (
      ('once', set_programs.kept_once),
      ('twice', set_programs.kept_twice),
  ):
    for sizes, examples in drawn.items():
      kept = [program(row)[1] for row in examples.tokens()[:10]]
      figures[f'elements kept, read {name}', f'{sizes}'] = max(kept)
  return figures


def _smallest_widths(rng):
  figures = {}
  for sizes in (*_GROWING, _REVERSED):
    examples = draw(rng, NUM_EXAMPLES, sizes)
    for row, stored in (
        (_CAUSAL, examples),
        (_NON_CAUSAL, examples.smaller_first()),
    ):
      figures[row, f'{sizes}'] = smallest_width(rng, stored)
  return figures


def _expectations(figures: probes.Seeds) -> list[probes.Expectation]:
  at = lambda row, sizes: figures[row, f'{sizes}']

  def gap(row):
    return at(row, (4, 256)) - at(row, (256, 4))

  def growth(row, *sizes):
    """The smallest factor from one of the sizes to the next."""
    widths = np.array([at(row, s) for s in sizes])
    return (widths[1:] / widths[:-1]).min(axis=0)

  def excess(row, size):
    """The elements that are kept in excess of a set's size, for all sizes."""
    return sum(at(row, sizes) - size(sizes) for sizes in _SIZES)

  once = excess('elements kept, read once', lambda sizes: sizes[0])
  twice = excess('elements kept, read twice', min)
  reversal = growth(_NON_CAUSAL, _REVERSED, _GROWING[3])
  rows = (
      ('causal, D = 64: (4, 256) - (256, 4)', gap('causal, D = 64'), 0.4),
      (
          'non-causal, D = 64: (4, 256) - (256, 4)',
          gap('non-causal, D = 64'),
          -0.06,
          0.06,
      ),
      (f'{_CAUSAL}: growth, |A| x 4', growth(_CAUSAL, *_GROWING), 2),
      (
          f'{_NON_CAUSAL}: growth, min(|A|, |B|) x 4',
          growth(_NON_CAUSAL, *_GROWING[:3]),
          2,
      ),
      (f'{_NON_CAUSAL}: (256, 64) over (64, 256)', reversal, 0.5, 2),
      (f'{_OTHERS}, (4, 256)', at(_OTHERS, (4, 256)), 0, 0.05),
      ('elements kept beyond |A|, read once', once, 0, 0),
      ('elements kept beyond min(|A|, |B|), read twice', twice, 0, 0),
  )
  return [probes.Expectation(*row) for row in rows]


PROBE = probes.Probe(
    'Set disjointness: the element that A and B share, found in a state of D'
    ' sums; columns are (|A|, |B|)',
    _measure,
    _expectations,
)
