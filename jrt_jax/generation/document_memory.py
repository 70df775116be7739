"""Documents that are read once, apart from each other, and asked together."""

from collections.abc import Collection, Mapping
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax.cost import mixers
from jrt_jax.generation import document_file
from jrt_jax.generation import prefill
from jrt_jax.generation import sizes
from jrt_jax.generation.document_file import Document
from jrt_jax.generation.model import Model
from jrt_jax.generation.prefill import DecodeState
from jrt_jax.models import documents

_BATCH_SIZE = 8


class DocumentMemory:
  """Documents that a model has read, to be asked about in any combination.

      memory = DocumentMemory(model)
      memory.read({'a': 'A first text.', 'b': 'Another text.'})
      memory.remove('b')
      answer = generation.Continuation(
          model, ['A question'], after=memory.decode_state(), turn='append_causal'
      )

  Each document is read by itself, from empty states and as one prefix, and
  leaves sums over its tokens in each `pla` layer: Σ φ(k) vᵀ and, with a
  `config.model.pla.prefix_reader` other than `sum`, Σ φ(k) φ(k)ᵀ. The size of
  the sums does not depend on the length of the document. A state for some
  documents has the total of their sums as its prefix, so that a ridge
  regression is solved once for all of them. The total is computed afresh for
  each state: the order in which documents were added does not matter, and a
  removed document leaves nothing.

  Nothing else of a document is kept. The tails of convolutions, the windows and
  caches of softmax attention, and the causal half of `pla` layers are empty
  when the question starts. The question should be read causally.

  This is a way to read of its own, and not an approximation of reading all
  documents as one prefix. Only the sums of the first `pla` layer are those of
  one prefix, and only if no mixer before it looks at other tokens: every later
  activation of a document was computed without the other documents.

  Args:
    model: the model that reads.

  Raises:
    ValueError: the model has no `pla` layer, or also has another mixer that
      reads a prefix, whose states of several documents cannot be added.
  """

  def __init__(self, model: Model):
    config = model.config['model']
    if mixers.reading_prefix(config) != ['pla']:
      raise ValueError(
          'documents must be read by a model with pla, and no other mixer that'
          f' reads a prefix, got {", ".join(sorted({*config["mixers"]}))}'
      )
    self._model = model
    self._documents: dict[str, Document] = {}

  @property
  def names(self) -> list[str]:
    """The names of the documents, sorted."""
    return sorted(self._documents)

  def read(
      self,
      texts: Mapping[str, str | np.ndarray],
      *,
      batch_size: int = _BATCH_SIZE,
  ) -> None:
    """Reads documents and adds them.

    Args:
      texts: texts or ids int [n], by name.
      batch_size: how many are read at once; their activations [B, L, E] are in
        memory together.

    Raises:
      ValueError: a text is empty or has unknown ids, or a name is taken.
    """
    for name in texts:
      self._check_free(name)
    rows = [self._model.encode(text) for text in texts.values()]
    for i in range(0, len(rows), batch_size):
      part = _read(self._model, rows[i : i + batch_size])
      self._documents |= dict(zip([*texts][i : i + batch_size], part))

  def remove(self, name: str) -> None:
    """Removes a document; ValueError if there is none of this name."""
    self._check_known(name)
    del self._documents[name]

  def save(self, name: str, path: str | pathlib.Path) -> None:
    """Writes what is kept of a document to a file, atomically.

    Raises:
      OSError: the file cannot be written.
      ValueError: there is no such document.
    """
    self._check_known(name)
    document_file.save(path, self._model, self._documents[name])

  def load(self, name: str, path: str | pathlib.Path) -> None:
    """Adds a document that `save` has written.

    The strength of a ridge regression is part of the weights: a file of a model
    with another strength is one of another model.

    Raises:
      OSError: the file cannot be read.
      ValueError: the file is damaged, or from another model, or the name is
        taken.
    """
    self._check_free(name)
    self._documents[name] = document_file.load(path, self._model)

  def decode_state(self, names: Collection[str] | None = None) -> DecodeState:
    """Returns a state of one row in which a text sees documents.

    Its logits are 0 until a text has been read.

    Args:
      names: the documents; None: all.

    Raises:
      ValueError: there is no document, or none of a name, or their sums cannot
        be solved.
    """
    names = sorted(self.names if names is None else {*names})
    for name in names:
      self._check_known(name)
    if not names:
      raise ValueError('there must be at least one document, got none')
    model, chosen = self._model, [self._documents[name] for name in names]
    sums = jax.tree.map(_total, *(document.sums for document in chosen))
    slots = sizes.slots_for(1) if model.grows else None
    with model.on_mesh():
      states, is_finite = _states(model.merge, model.served, sums, slots)
      empty = prefill.empty_state(model.merge, model.served, 1, slots)
    if not is_finite:
      raise ValueError(
          'the sums of the documents must have a ridge regression, but those of'
          f' {", ".join(names)} are too ill-conditioned to be solved'
      )
    tokens = jnp.full(1, sum(document.tokens for document in chosen), jnp.int32)
    state = empty._replace(states=states, position=tokens, prefix=tokens)
    return prefill.commit(model, state)

  def _check_known(self, name):
    if name not in self._documents:
      raise ValueError(
          f'a document must be one of {", ".join(self.names) or "none"}, got'
          f' {name}'
      )

  def _check_free(self, name):
    if name in self._documents:
      raise ValueError(f'a document must be added once, got {name} again')


def _total(*arrays):
  """The sum in float64, so that the number of documents adds no error."""
  return np.sum(arrays, axis=0, dtype=np.float64).astype(np.float32)


def _read(model, rows):
  """Returns the `Document` of each row of ids."""
  filled = sizes.with_empty(rows, model.replicas)
  tokens, mask = prefill.whole_rows(model, filled)
  with model.on_mesh():
    sums = document_file.read(
        model.merge, model.served, tokens, mask, model.block
    )
  sums = jax.tree.map(np.asarray, sums)
  return [
      Document(jax.tree.map(lambda x: x[b : b + 1], sums), len(row))
      for b, row in enumerate(rows)
  ]


@functools.partial(jax.jit, static_argnames=('merge', 'slots'))
def _states(merge, params, sums, slots):
  """The states of layers, and whether all of them are finite."""
  states = documents.states(merge(params), sums, state_capacity=slots)
  floats = [
      x
      for x in jax.tree.leaves(states)
      if jnp.isdtype(x.dtype, 'real floating')
  ]
  return states, jnp.all(jnp.stack([jnp.isfinite(x).all() for x in floats]))
