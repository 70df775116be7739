import pytest

from jrt_jax.data import byte_level_bpe
from jrt_jax.data import tokenizers

TEXTS = ['the state of the union is the state of the state', 'the end'] * 3
ANY_TEXT = 'The  état\r\n\t\x00 of 統一 🙂 <|not special|> the\u2028 end \ufffd'


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  path = tmp_path_factory.mktemp('bpe') / 'tokenizer.json'
  byte_level_bpe.train(TEXTS, 270).save(str(path))
  return path


def test_any_text_comes_back_as_it_was(path):
  tokenizer = tokenizers.load(str(path))
  ids = tokenizer.encode(ANY_TEXT)
  assert tokenizer.decode(ids) == ANY_TEXT
  assert tokenizer.num_bytes[ids].sum() == len(ANY_TEXT.encode())


def test_frequent_words_become_one_token_and_the_end_of_text_is_id_0(path):
  tokenizer = tokenizers.load(str(path))
  assert tokenizer.size == 270
  assert tokenizer.eos_id == 0
  assert len(tokenizer.encode(' the state')) == 2
  assert len(tokenizer.encode(' the union')) > 4  # seen less often


def test_the_same_text_gives_the_same_tokenizer(path):
  again = byte_level_bpe.train(iter(TEXTS), 270).to_str(pretty=True)
  assert again == path.read_text()


@pytest.mark.parametrize(
    'size, message', [(256, 'from 257 .* got 256'), (2**20, 'got words for')]
)
def test_a_size_that_the_text_cannot_fill_is_refused(size, message):
  with pytest.raises(ValueError, match=message):
    byte_level_bpe.train(TEXTS, size)
