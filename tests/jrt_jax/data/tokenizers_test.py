import gzip
import pathlib

import numpy as np
import pytest
import tokenizers as hf

from jrt_jax.data import tokenizers

SHARED = pathlib.Path(__file__).parents[4] / 'shared/data/tokenizers'
TEXT = 'def f(x):\n\n  return "wörld 日本 😀"\n'


@pytest.fixture(scope='module')
def byte_level(tmp_path_factory):
  """A small tokenizer.json like GPT-2's, with a plain added token."""
  tokenizer = hf.Tokenizer(hf.models.BPE())
  tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
  tokenizer.decoder = hf.decoders.ByteLevel()
  trainer = hf.trainers.BpeTrainer(
      vocab_size=300,
      special_tokens=['<|endoftext|>'],
      initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
      show_progress=False,
  )
  tokenizer.train_from_iterator([TEXT] * 3, trainer)
  tokenizer.add_tokens(['日本'])
  tokenizer.post_processor = hf.processors.TemplateProcessing(
      single='<|endoftext|> $A', special_tokens=[('<|endoftext|>', 0)]
  )
  tokenizer.enable_truncation(3)
  tokenizer.enable_padding(length=50)
  return save(tokenizer, tmp_path_factory.mktemp('byte_level'))


@pytest.fixture(scope='module')
def sentencepiece(tmp_path_factory):
  """A small tokenizer.json like Llama's: ▁ for spaces, bytes to fall back."""
  vocabulary = {'</s>': 0, '▁': 1, 'é': 2, '▁é': 3}
  vocabulary |= {f'<0x{i:02X}>': i + 4 for i in range(256)}
  tokenizer = hf.Tokenizer(
      hf.models.BPE(vocabulary, [('▁', 'é')], byte_fallback=True)
  )
  tokenizer.normalizer = hf.normalizers.Replace(' ', '▁')
  tokenizer.decoder = hf.decoders.Sequence(
      [
          hf.decoders.Replace('▁', ' '),
          hf.decoders.ByteFallback(),
          hf.decoders.Fuse(),
      ]
  )
  tokenizer.add_special_tokens(['</s>'])
  return save(tokenizer, tmp_path_factory.mktemp('sentencepiece'))


def save(tokenizer, folder):
  path = folder / 'tokenizer.json'
  tokenizer.save(str(path))
  return str(path)


@pytest.fixture(params=['bytes', 'byte_level', 'sentencepiece'])
def tokenizer(request):
  if request.param == 'bytes':
    return tokenizers.load('bytes')
  return tokenizers.load(request.getfixturevalue(request.param))


def test_decoding_gives_the_text_back(tokenizer):
  assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
  assert tokenizer.decode(tokenizer.encode(TEXT.encode())) == TEXT


def test_the_bytes_of_ids_add_up_to_the_bytes_of_the_text(tokenizer):
  num_bytes = tokenizer.num_bytes[tokenizer.encode(TEXT)]
  assert num_bytes.sum() == len(TEXT.encode())
  assert tokenizer.num_bytes.shape == (tokenizer.size,)
  assert tokenizer.num_bytes.dtype == np.int32
  assert tokenizer.num_bytes[tokenizer.eos_id] == 0


def test_encoding_neither_pads_nor_adds_special_ids(tokenizer):
  assert tokenizer.num_bytes[tokenizer.encode('x')].tolist() == [1]


def test_a_stream_ends_each_document(tokenizer):
  stream = np.concatenate(list(tokenizer.stream(['é é', b'ab'])))
  eos = [tokenizer.eos_id]
  expected = [tokenizer.encode('é é'), eos, tokenizer.encode('ab'), eos]
  np.testing.assert_array_equal(stream, np.concatenate(expected))
  assert tokenizer.decode(stream) == 'é éab'


def test_long_documents_have_the_same_ids_in_pieces(byte_level, monkeypatch):
  monkeypatch.setattr(tokenizers, '_PIECES_AT_ONCE', 2)
  tokenizer = tokenizers.load(byte_level)
  document = ('one two, \n\n three\n\n\tfour.\n' * 4000) + '\n'
  assert len(list(tokenizers._pieces([document]))) > 5
  stream = np.concatenate(list(tokenizer.stream([document, 'x'])))
  expected = [tokenizer.encode(document), [tokenizer.eos_id]]
  expected += [tokenizer.encode('x'), [tokenizer.eos_id]]
  np.testing.assert_array_equal(stream, np.concatenate(expected))


def test_text_that_is_no_unicode_is_replaced(tokenizer):
  assert '\ufffd' in tokenizer.decode(tokenizer.encode(b'a\xff'))
  assert tokenizer.decode(tokenizer.encode('a\ud800')) == 'a?'


def test_fingerprints_tell_tokenizers_apart(byte_level, sentencepiece):
  names = ['bytes', byte_level, sentencepiece]
  assert len({tokenizers.load(name).fingerprint for name in names}) == 3
  assert (
      tokenizers.load(byte_level).fingerprint
      == tokenizers.load(byte_level).fingerprint
  )


def test_a_missing_file_is_refused(tmp_path):
  for path in (tmp_path / 'none.json', tmp_path):
    with pytest.raises(FileNotFoundError, match="'bytes' or the path of a"):
      tokenizers.load(str(path))


def test_a_file_that_is_no_tokenizer_is_refused_in_one_line(tmp_path):
  path = tmp_path / 'config.json'
  path.write_text('{\n"model": 1}')
  with pytest.raises(ValueError, match='is not a tokenizer.json') as error:
    tokenizers.load(str(path))
  assert '\n' not in str(error.value)


def test_a_tokenizer_that_ends_no_document_is_refused(tmp_path):
  tokenizer = hf.Tokenizer(hf.models.WordLevel({'a': 0}, unk_token='a'))
  with pytest.raises(ValueError, match='must have a token that ends documents'):
    tokenizers.load(save(tokenizer, tmp_path))


@pytest.mark.parametrize(
    ('name', 'size', 'eos_id', 'hello_world'),
    [
        ('gpt2', 50_257, 50_256, [15496, 995]),
        ('gpt_neox_20b', 50_277, 0, [12092, 1533]),
    ],
)
def test_published_tokenizers_load(tmp_path, name, size, eos_id, hello_world):
  source = SHARED / f'{name}_tokenizer.json.gz'
  if not source.exists():
    pytest.skip(f'{source.name} is not here')
  path = tmp_path / 'tokenizer.json'
  path.write_bytes(gzip.decompress(source.read_bytes()))
  tokenizer = tokenizers.load(str(path))
  assert (tokenizer.size, tokenizer.eos_id) == (size, eos_id)
  assert tokenizer.encode('Hello world').tolist() == hello_world
  ids = tokenizer.encode(TEXT)
  assert tokenizer.decode(ids) == TEXT
  assert tokenizer.num_bytes[ids].sum() == len(TEXT.encode())
