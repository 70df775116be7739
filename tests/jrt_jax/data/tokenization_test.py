import json
import multiprocessing

import numpy as np
import pytest

from jrt_jax.data import manifest
from jrt_jax.data import text_batches
from jrt_jax.data import tokenization

JSONL = manifest.Settings(format='jsonl', validation_fraction=0.5)


def batch(*texts, first=0):
  units = [json.dumps({'text': text}).encode() for text in texts]
  return text_batches.Batch('a.jsonl', 0, first, units, 0)


def test_each_unit_has_its_tokens_and_an_end():
  tokens = tokenization.tokenize(batch('ab', '', 'c'), 'bytes', JSONL)
  assert tokens.ids.tolist() == [97, 98, 256, 99, 256]
  assert tokens.ids.dtype == np.uint16
  assert tokens.lengths.tolist() == [3, 0, 2]


def test_some_units_have_the_tokens_of_these():
  tokens = tokenization.tokenize(batch('ab', '', 'c', 'de'), 'bytes', JSONL)
  for start, stop in ((0, 4), (1, 3), (2, 4), (0, 0), (4, 4)):
    some = tokens[start:stop]
    alone = tokenization.tokenize(
        batch(*['ab', '', 'c', 'de'][start:stop], ''), 'bytes', JSONL
    )
    assert some.ids.tolist() == alone.ids.tolist()
    assert some.lengths.tolist() == alone.lengths[:-1].tolist()
    assert some.held_out.tolist() == alone.held_out[:-1].tolist()


def test_a_document_is_held_out_by_its_content():
  texts = [f'document {i}' for i in range(1000)]
  tokens = tokenization.tokenize(batch(*texts), 'bytes', JSONL)
  assert 0.45 < tokens.held_out.mean() < 0.55  # three standard deviations
  turned = tokenization.tokenize(batch(*texts[::-1]), 'bytes', JSONL)
  np.testing.assert_array_equal(turned.held_out[::-1], tokens.held_out)


def test_blank_lines_are_no_documents():
  blank = text_batches.Batch('a.jsonl', 0, 0, [b'\n', b' \n'], 0)
  tokens = tokenization.tokenize(blank, 'bytes', JSONL)
  assert tokens.lengths.tolist() == [0, 0]


def test_text_is_taken_as_it_is():
  text = manifest.Settings(format='text')
  units = text_batches.Batch('a.txt', 0, 0, [b' {"a', b'\xff'], 0)
  tokens = tokenization.tokenize(units, 'bytes', text)
  assert tokens.ids.tolist() == [*b' {"a', 256, 255, 256]


def test_a_line_without_text_is_named():
  bad = text_batches.Batch('a.jsonl', 0, 10, [b'{"text": "a"}', b'{}'], 0)
  with pytest.raises(ValueError, match='a.jsonl:12: text_key='):
    tokenization.tokenize(bad, 'bytes', JSONL)


def test_batches_come_in_their_order_and_mistakes_too():
  def batches():
    for i in range(12):
      yield batch('a' * (i + 1) * (1000 if i % 2 else 1), first=i)
    yield text_batches.Batch('a.jsonl', 0, 12, [b'oops'], 0)

  seen = []
  with pytest.raises(ValueError, match='a.jsonl:13: not JSON'):
    for taken, tokens in tokenization.tokenize_all(
        batches(), 'bytes', JSONL, workers=2
    ):
      seen.append(taken.first)
      assert tokens.lengths.sum() == len(json.loads(taken.units[0])['text']) + 1
  assert seen == list(range(12))


def test_a_killed_worker_ends_the_work():
  def batches():
    yield batch('a')
    for process in multiprocessing.active_children():
      process.kill()
      process.join()
    for i in range(10):
      yield batch('a', first=i)

  with pytest.raises(OSError, match='a worker was killed, .*fewer --processes'):
    list(tokenization.tokenize_all(batches(), 'bytes', JSONL, workers=1))
