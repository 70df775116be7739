"""What a model keeps of a document, in a file of the same size for any text."""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax.generation import array_file
from jrt_jax.generation.model import Model
from jrt_jax.models import documents
from jrt_jax.schema import Fields
from jrt_jax.schema import Text
from jrt_jax.schema import Whole
from pallas_kernels import PrefixSums

_FORMAT = 1
_META = Fields(
    {'format': Whole(0, 2**16), 'model': Text(), 'tokens': Whole(1, 2**31 - 1)}
)


class Document(NamedTuple):
  """What a model keeps of a document.

  Attributes:
    sums: `models.documents.DocumentSums`; leaves are float32 [1, H, ...].
    tokens: the number of its tokens.
  """

  sums: documents.DocumentSums
  tokens: int


def save(path: str | pathlib.Path, model: Model, document: Document) -> None:
  """Writes a file for `load`, atomically; an existing file is replaced.

  Args:
    path: the file.
    model: the model that has read the document.
    document: what it keeps.

  Raises:
    OSError: the file cannot be written.
  """
  meta = {
      'format': _FORMAT,
      'model': model.fingerprint,
      'tokens': document.tokens,
  }
  array_file.write(path, meta, _of_each(_packed, document.sums))


def load(path: str | pathlib.Path, model: Model) -> Document:
  """Returns the document that `save` has written.

  Args:
    path: the file.
    model: the model that has read the document.

  Raises:
    OSError: the file cannot be read.
    ValueError: it is damaged, or from another model.
  """
  file, meta = array_file.open_for(
      path, model, 'a saved document', _META, _FORMAT
  )
  like = jax.eval_shape(lambda: _of_each(_packed, _zeros(model)))
  sums = array_file.read(path, file, like)
  return Document(_of_each(_unpacked, sums), meta['tokens'])


@functools.partial(jax.jit, static_argnames=('merge', 'block'))
def read(merge: Any, params: Any, tokens: Any, mask: Any, block: int) -> Any:
  """As `models.documents.read`, of a `Model`'s `merge` and `served` weights."""
  return documents.read(merge(params), tokens, mask, block)


def _zeros(model):
  """The sums of a document without tokens; it is traced only."""
  shape = 1, model.block
  nothing = jnp.zeros(shape, jnp.int32), jnp.zeros(shape, bool)
  return read(model.merge, model.served, *nothing, model.block)


def _of_each(function, sums):
  """Applies a function to the sums of ridge regressions, and to no others."""
  is_ridge = lambda x: isinstance(x, PrefixSums)
  return jax.tree.map(
      lambda x: function(x) if is_ridge(x) else x, sums, is_leaf=is_ridge
  )


def _packed(sums):
  """Keeps the lower triangle of the symmetric matrix, [1, H, F (F + 1) / 2]."""
  lower = np.tril_indices(sums.kk.shape[-1])
  return sums._replace(kk=sums.kk[..., *lower])


def _unpacked(sums):
  F = sums.kv.shape[-2]
  i, j = np.tril_indices(F)
  kk = np.zeros((*sums.kk.shape[:-1], F, F), np.float32)
  kk[..., i, j] = kk[..., j, i] = sums.kk
  return sums._replace(kk=kk)
