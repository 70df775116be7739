import json

import numpy as np
import pytest
import tokenizers as tokenizers_lib
from tokenizers import models
from tokenizers import pre_tokenizers
from tokenizers import processors

from jrt_jax.data import tokenizers
from jrt_jax.interchange import exported_tokenizer


@pytest.fixture(scope='module')
def byte_tokenizer():
  return exported_tokenizer.of_bytes()


@pytest.mark.parametrize(
    'text',
    ['', ' a\tb\r\n\n c', '\0\x7f\xad', 'é 中 🙂 ', '<|endoftext|>'],
)
def test_bytes_become_a_tokenizer_with_the_same_ids(byte_tokenizer, text):
  byte_tokenizer.encode_special_tokens = True  # split_special_tokens
  ids = byte_tokenizer.encode(text).ids
  np.testing.assert_array_equal(ids, tokenizers.Bytes().encode(text))
  assert byte_tokenizer.decode(ids) == text


def test_any_bytes_become_the_same_text(byte_tokenizer):
  for length in range(100):
    ids = np.random.default_rng(length).integers(257, size=length).tolist()
    expected = tokenizers.Bytes().decode(ids)
    assert byte_tokenizer.decode(ids, skip_special_tokens=True) == expected


def test_the_end_of_text_is_its_own_id(byte_tokenizer):
  assert byte_tokenizer.token_to_id('<|endoftext|>') == 256
  assert byte_tokenizer.get_vocab_size() == tokenizers.Bytes.size


@pytest.fixture
def word_tokenizer():
  """Two words, a start and an end of text."""
  words = {'a': 0, 'b': 1, '<s>': 2, '</s>': 3}
  tokenizer = tokenizers_lib.Tokenizer(models.WordLevel(words, unk_token='a'))
  tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
  tokenizer.add_special_tokens(['<s>', '</s>'])
  return tokenizer


def test_a_plain_tokenizer_is_copied_as_it_is(word_tokenizer, tmp_path):
  path, out = tmp_path / 'words.json', tmp_path / 'out'
  out.mkdir()
  path.write_text(word_tokenizer.to_str(pretty=True))
  exported_tokenizer.write(out, str(path), eos_id=3)
  assert (out / 'tokenizer.json').read_text() == path.read_text()
  settings = json.loads((out / 'tokenizer_config.json').read_text())
  assert settings['eos_token'] == settings['pad_token'] == '</s>'
  assert settings['padding_side'] == 'left'


def test_what_a_tokenizer_adds_or_cuts_is_left_out(word_tokenizer, tmp_path):
  word_tokenizer.post_processor = processors.TemplateProcessing(
      single='<s> $A', special_tokens=[('<s>', 2)]
  )
  word_tokenizer.enable_truncation(2)
  word_tokenizer.enable_padding(length=9)
  word_tokenizer.save(str(tmp_path / 'words.json'))
  out = tmp_path / 'out'
  out.mkdir()
  exported_tokenizer.write(out, str(tmp_path / 'words.json'), eos_id=3)
  written = tokenizers_lib.Tokenizer.from_file(str(out / 'tokenizer.json'))
  assert written.encode('a b a b').ids == [0, 1, 0, 1]


def test_a_written_tokenizer_is_found_again(tmp_path):
  assert exported_tokenizer.find(tmp_path, 'bytes') == 'bytes'
  found = exported_tokenizer.find(tmp_path, exported_tokenizer.kind('/a/b'))
  assert found == str(tmp_path / 'tokenizer.json')
