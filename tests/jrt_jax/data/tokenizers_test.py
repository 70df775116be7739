import functools
import gzip
import json
import pathlib
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
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


def gpt2_like():
  tokenizer = hf.Tokenizer(hf.models.BPE())
  tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
  alphabet = hf.pre_tokenizers.ByteLevel.alphabet()
  return tokenizer, hf.trainers.BpeTrainer(initial_alphabet=alphabet)


def metaspace(scheme='always', split=True):
  tokenizer = hf.Tokenizer(hf.models.BPE(unk_token='<unk>', fuse_unk=True))
  tokenizer.pre_tokenizer = hf.pre_tokenizers.Metaspace(
      prepend_scheme=scheme, split=split
  )
  return tokenizer, hf.trainers.BpeTrainer()


def unigram():
  tokenizer = hf.Tokenizer(hf.models.Unigram())
  tokenizer.normalizer = hf.normalizers.Sequence(
      [hf.normalizers.NFKC(), hf.normalizers.Replace(hf.Regex(' {2,}'), ' ')]
  )
  tokenizer.pre_tokenizer = hf.pre_tokenizers.Metaspace()
  return tokenizer, hf.trainers.UnigramTrainer(unk_token='<unk>')


def llama_like():
  """All of a text is one word, which begins with an added space."""
  tokenizer = hf.Tokenizer(hf.models.BPE(unk_token='<unk>', fuse_unk=True))
  tokenizer.normalizer = hf.normalizers.Sequence(
      [hf.normalizers.Prepend('▁'), hf.normalizers.Replace(' ', '▁')]
  )
  return tokenizer, hf.trainers.BpeTrainer()


def word_piece():
  tokenizer = hf.Tokenizer(hf.models.WordPiece(unk_token='<unk>'))
  tokenizer.normalizer = hf.normalizers.BertNormalizer()
  tokenizer.pre_tokenizer = hf.pre_tokenizers.BertPreTokenizer()
  return tokenizer, hf.trainers.WordPieceTrainer()


def whitespace():
  tokenizer = hf.Tokenizer(hf.models.WordLevel(unk_token='<unk>'))
  tokenizer.normalizer = hf.normalizers.Strip()
  tokenizer.pre_tokenizer = hf.pre_tokenizers.Whitespace()
  return tokenizer, hf.trainers.WordLevelTrainer()


KINDS = {
    'GPT-2': gpt2_like,
    'Metaspace': metaspace,
    'Metaspace, first': lambda: metaspace('first'),
    'Metaspace, unsplit': lambda: metaspace('first', split=False),
    'Unigram': unigram,
    'Llama': llama_like,
    'WordPiece': word_piece,
    'whitespace': whitespace,
}
ONE_WORD = ('Metaspace, unsplit', 'Llama')


@pytest.fixture(scope='module')
def of_kind(tmp_path_factory):
  """A function that returns a trained tokenizer of a kind, each made once."""

  @functools.cache
  def of_kind(kind):
    tokenizer, trainer = KINDS[kind]()
    trainer.vocab_size = 300
    trainer.show_progress = False
    trainer.special_tokens = ['</s>', '<unk>']
    tokenizer.train_from_iterator([PROSE, TEXT] * 3, trainer)
    tokenizer.add_tokens(
        [
            hf.AddedToken('<left>', lstrip=True),
            hf.AddedToken('<right>', rstrip=True),
            'two words',
        ]
    )
    return tokenizers.load(save(tokenizer, tmp_path_factory.mktemp('kind')))

  return of_kind


PROSE = 'one two, \n\n three\n\n\tfour.  \nfive\n'


def assert_ids_of_the_whole(tokenizer, document):
  stream = np.concatenate(list(tokenizer.stream([document, 'x'])))
  expected = [tokenizer.encode(document), [tokenizer.eos_id]]
  expected += [tokenizer.encode('x'), [tokenizer.eos_id]]
  np.testing.assert_array_equal(stream, np.concatenate(expected))


@pytest.mark.parametrize('kind', KINDS)
def test_long_documents_have_the_same_ids_in_pieces(of_kind, kind, monkeypatch):
  monkeypatch.setattr(tokenizers, '_PIECES_AT_ONCE', 2)
  tokenizer, document = of_kind(kind), PROSE * 4000
  pieces = len(list(tokenizer._pieces([document])))
  assert pieces == 1 if kind in ONE_WORD else pieces > 5
  assert_ids_of_the_whole(tokenizer, document)


words = st.sampled_from(
    [*' \n\t', '\n\n', '  ', ' ', "it's", 'one', 'Zwei', 'é', 'e', '\u0301']
    + [
        '日本',
        '<left>',
        '<right>',
        'two words',
        'two',
        'words',
        '.',
        '12',
        '😀',
    ]
)


@pytest.mark.parametrize('kind', KINDS)
@given(parts=st.lists(words, max_size=60))
def test_a_text_has_the_same_ids_wherever_its_words_are_cut(
    of_kind, kind, parts
):
  with mock.patch.object(tokenizers, '_PIECE', 3):
    assert_ids_of_the_whole(of_kind(kind), ''.join(parts))


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
  with pytest.raises(
      ValueError, match='must be an intact tokenizer.json'
  ) as error:
    tokenizers.load(str(path))
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'continuing_subword_prefix': 'x' * 9}, 'must be an intact tokenizer'),
        (
            {'vocab': {'<eos>': 2**31}},
            'ids must be at most 16,777,216, got 2,1',
        ),
        ({'vocab': {'<eos>': -1}}, 'must be an intact tokenizer'),
    ],
)
def test_a_file_at_which_the_library_panics_is_refused_in_one_line(
    byte_level, tmp_path, changes, message
):
  content = json.loads(pathlib.Path(byte_level).read_text())
  content['model'] |= changes
  if 'vocab' in changes:
    content['model']['merges'], content['added_tokens'] = [], []
  path = tmp_path / 'tokenizer.json'
  path.write_text(json.dumps(content))
  with pytest.raises(ValueError, match=message) as error:
    tokenizers.load(str(path))
  assert '\n' not in str(error.value)


def test_a_tokenizer_that_ends_no_document_is_refused(tmp_path):
  tokenizer = hf.Tokenizer(hf.models.WordLevel({'a': 0}, unk_token='a'))
  with pytest.raises(ValueError, match='must have an end-of-text token'):
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
