"""What the Hopper kernels are told of documents says what the definition says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.prefix_linear_attention import mosaic_sm90_documents as module
from pallas_kernels.prefix_linear_attention.inputs import Inputs

B, L, P, CHUNK = 2, 500, 100, 128
PADDED = 512
INSIDE = np.arange(PADDED) % CHUNK
CHUNK_OF = np.arange(PADDED) // CHUNK


@pytest.fixture(scope='module')
def segment():
  """Documents of [B, 512] that end inside of chunks, at their ends, or not."""
  rows = [30, 98, 1, 255, 128], [300, 212]
  return np.stack([np.repeat(np.arange(len(row)), row) for row in rows])


@pytest.fixture(scope='module')
def mask():
  return np.random.default_rng(0).random((B, PADDED)) > 0.3


@pytest.fixture(scope='module')
def spans(segment, mask):
  mask[:, L:] = False  # as all that is filled up
  q = jnp.zeros((B, L, 1, 16))
  prefix_mask = mask[:, :P] & (np.arange(P) < [[20], [100]])
  inputs = Inputs(
      *(q, q, q, q[:, :P], q[:, :P], prefix_mask),
      *(segment[:, :L].astype('int32'), mask[:, :L], None),
  )
  return jax.tree.map(np.asarray, module.of_inputs(inputs, PADDED, CHUNK))


def open_before(segment):
  """The document of the position before the chunk of each position."""
  last = segment[:, CHUNK - 1 :: CHUNK]
  return np.pad(last, ((0, 0), (1, 0)))[:, CHUNK_OF]


def open_after(segment, size=CHUNK):
  return np.repeat(segment[:, size - 1 :: size], size, axis=1)


def test_queries_see_the_keys_of_their_documents(spans, segment, mask):
  i, j = np.indices((CHUNK, CHUNK))
  for c in range(PADDED // CHUNK):
    at = slice(c * CHUNK, (c + 1) * CHUNK)
    start, end = (x[:, at] for x in spans[:2])
    same = segment[:, at, None] == segment[:, None, at]
    expected = same & mask[:, None, at] & (j <= i)
    by_key = (i < end[:, None, :]) & (j <= i)
    np.testing.assert_array_equal(by_key, expected)
    np.testing.assert_array_equal(
        by_key, (start[:, :, None] <= j) & (j < end[:, None, :]) & (j <= i)
    )


def test_the_state_is_of_the_document_that_is_open(spans, segment, mask):
  before, after = open_before(segment), open_after(segment)
  np.testing.assert_array_equal(spans.start < 0, segment == before)
  np.testing.assert_array_equal(spans.end >= CHUNK, (segment == after) & mask)
  kept = spans.start[:, CHUNK - 1 :: CHUNK] < 0
  np.testing.assert_array_equal(kept, (before == after)[:, ::CHUNK])


def test_padding_is_no_prefix(spans, mask):
  expected = np.zeros((B, CHUNK), bool)
  expected[0, :20], expected[1, :P] = mask[0, :20], mask[1, :P]
  np.testing.assert_array_equal(spans.end_enc, CHUNK * expected)


@pytest.mark.parametrize('segments', [2, 4])
def test_states_of_segments_add_up_within_documents(
    spans, segment, mask, segments
):
  size = PADDED // segments
  entering = module.entering_segment(spans, segments)
  expected = (segment == open_after(segment, size)) & mask
  np.testing.assert_array_equal(entering, CHUNK * expected)

  added = (entering > 0).reshape(B, segments, size).sum(2)
  first = np.full((B, 1), 1000)  # tokens read before the first document
  counts = np.concatenate([first, added], axis=1)
  totals = np.einsum('bst,bt->bs', module.reaches(spans, segments), counts)
  for b in range(B):
    for s in range(1, segments + 1):
      document = segment[b, s * size - 1]
      read = mask[b, : s * size] & (segment[b, : s * size] == document)
      assert totals[b, s] == read.sum() + (1000 if document == 0 else 0)
