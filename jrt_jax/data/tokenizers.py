"""Text to ids and back: bytes, or any tokenizer.json.

Both kinds of tokenizer have
  size: one more than the largest id.
  eos_id: the id that ends a document.
  num_bytes: int32 [size], bytes of text that an id stands for; 0 for eos and
    other special ids.
  fingerprint: a short string that identifies the tokenizer.
  encode(text), decode(ids) and stream(documents).
"""

from collections.abc import Iterable, Iterator
import hashlib
import itertools
import pathlib
import re

import numpy as np
import tokenizers

from jrt_jax import foreign

Document = str | bytes

_MOST_BYTES = 2**28  # of a tokenizer.json
_LARGEST_ID = 2**24

_EOS = ('<|endoftext|>', '</s>', '<eos>', '<|end_of_text|>')

# Long texts are tokenized in pieces, which end at the end of a word.
_PIECE = 2**14  # fewest characters of a piece
_PIECES_AT_ONCE = 64
_MAY_END = re.compile(r'\w(?=\s)')
_TRIES = 64  # places that are tried; a tokenizer may have few words, or none
_AROUND = 64  # characters on either side that are compared at such a place


class Bytes:
  """UTF-8 bytes are ids 0 to 255; 256 ends a document."""

  size = 257
  eos_id = 256
  num_bytes = np.array([1] * 256 + [0], np.int32)
  fingerprint = 'bytes'

  def encode(self, text: Document) -> np.ndarray:
    """Returns the ids of `text`, uint8 [n]."""
    return np.frombuffer(to_bytes(text), np.uint8)

  def decode(self, ids: Iterable[int]) -> str:
    """Returns the text of `ids`; invalid UTF-8 becomes U+FFFD."""
    return bytes(i for i in ids if i < 256).decode(errors='replace')

  def stream(self, documents: Iterable[Document]) -> Iterator[np.ndarray]:
    """Yields arrays of ids: the documents, `eos_id` after each."""
    for document in documents:
      yield self.encode(document)
      yield np.array([self.eos_id])


class TokenizerJson:
  """A tokenizer.json of the `tokenizers` library."""

  def __init__(self, path: str):
    foreign.check_size(path, _MOST_BYTES)
    content = pathlib.Path(path).read_bytes()
    with foreign.intact(path, 'tokenizer.json'):
      self._tokenizer = tokenizers.Tokenizer.from_buffer(content)
    # Some files turn these on, which would cut or pad every document.
    self._tokenizer.no_truncation()
    self._tokenizer.no_padding()
    self.eos_id = _eos_id(self._tokenizer, path)
    with foreign.intact(path, 'tokenizer.json'):
      self.num_bytes = _num_bytes(self._tokenizer)
    self.size = len(self.num_bytes)
    self.fingerprint = hashlib.sha256(content).hexdigest()[:16]

  def encode(self, text: Document) -> np.ndarray:
    """Returns the ids of `text`, int32 [n], without special ids around it."""
    encoding = self._tokenizer.encode(_to_text(text), add_special_tokens=False)
    return np.array(encoding.ids, np.int32)

  def decode(self, ids: Iterable[int]) -> str:
    """Returns the text of `ids`, without special ids."""
    return self._tokenizer.decode(list(ids), skip_special_tokens=True)

  def stream(self, documents: Iterable[Document]) -> Iterator[np.ndarray]:
    """Yields arrays of ids: the documents, `eos_id` after each."""
    pieces = self._pieces(documents)
    while batch := list(itertools.islice(pieces, _PIECES_AT_ONCE)):
      encodings = self._tokenizer.encode_batch_fast(
          [piece for piece, _ in batch], add_special_tokens=False
      )
      for encoding, (_, is_last) in zip(encodings, batch):
        yield np.array(encoding.ids + [self.eos_id] * is_last)

  def _pieces(
      self, documents: Iterable[Document]
  ) -> Iterator[tuple[str, bool]]:
    """Yields pieces of documents, and whether they are the last of theirs."""
    for document in documents:
      text, start = _to_text(document), 0
      while end := self._word_end(text, start + _PIECE):
        yield text[start:end], False
        start = end
      yield text[start:], True

  def _word_end(self, text: str, start: int) -> int | None:
    """Returns the end of a word after `start`; None if none is found soon."""
    places = itertools.islice(_MAY_END.finditer(text, start), _TRIES)
    return next((x.end() for x in places if self._divides(text, x.end())), None)

  def _divides(self, text: str, i: int) -> bool:
    """Whether tokenizing text[:i] and text[i:] separately gives the same ids.

    It does if this holds for the characters around i and a word ends at i,
    since the tokenizer does not look beyond words.
    """
    before, after = text[max(i - _AROUND, 0) : i], text[i : i + _AROUND]
    whole, left, right = (
        self._tokenizer.encode(part, add_special_tokens=False)
        for part in (before + after, before, after)
    )
    n = len(left.ids)
    return (
        whole.ids == left.ids + right.ids
        and 0 < n < len(whole.ids)
        and whole.word_ids[n - 1] != whole.word_ids[n]
    )


def load(name_or_path: str) -> Bytes | TokenizerJson:
  """Returns the tokenizer that `config.data.tokenizer` names.

  Raises:
    FileNotFoundError: the name is neither 'bytes' nor a file.
    ValueError: the file is not a tokenizer.json, or has no end-of-text token.
  """
  if name_or_path == 'bytes':
    return Bytes()
  if not pathlib.Path(name_or_path).is_file():
    raise FileNotFoundError(
        "the tokenizer must be 'bytes' or the path of a tokenizer.json, got"
        f' {name_or_path!r}, which is not a file'
    )
  return TokenizerJson(name_or_path)


def to_bytes(text: Document) -> bytes:
  """Returns the UTF-8 of a text; lone surrogates become ?."""
  # JSON may contain lone surrogates, which UTF-8 cannot encode.
  return text.encode(errors='replace') if isinstance(text, str) else text


def _to_text(text: Document) -> str:
  return to_bytes(text).decode(errors='replace')


def _eos_id(tokenizer: tokenizers.Tokenizer, path: str) -> int:
  for name in _EOS:
    if (eos_id := tokenizer.token_to_id(name)) is not None:
      return eos_id
  raise ValueError(
      f'the tokenizer {path!r} must have an end-of-text token, one of'
      f' {" ".join(_EOS)}'
  )


def _num_bytes(tokenizer: tokenizers.Tokenizer) -> np.ndarray:
  """Returns the number of bytes of text that each id stands for, int32 [size].

  This is exact for the two common kinds: byte-level BPE, whose tokens have one
  character for each byte, and SentencePiece, with ▁ for a space and <0x0A> for
  a byte.
  """
  vocabulary = tokenizer.get_vocab()
  added_tokens = tokenizer.get_added_tokens_decoder()
  byte_level = 'ByteLevel' in repr(tokenizer.decoder)
  largest = max([*vocabulary.values(), *added_tokens])
  if largest > _LARGEST_ID:
    raise ValueError(f'ids must be at most {_LARGEST_ID:,}, got {largest:,}')
  counts = np.zeros(largest + 1, np.int32)
  for token, i in vocabulary.items():
    text = re.sub('<0x..>', '.', token).replace('▁', ' ')
    counts[i] = len(token) if byte_level else len(text.encode())
  for i, added in added_tokens.items():
    counts[i] = 0 if added.special else len(added.content.encode())
  return counts
