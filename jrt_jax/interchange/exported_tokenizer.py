"""The tokenizer of a run as files that transformers' AutoTokenizer loads."""

import json
import pathlib

import tokenizers as tokenizers_lib
from tokenizers import decoders
from tokenizers import models
from tokenizers import pre_tokenizers

from jrt_jax.data import tokenizers

BYTES = 'bytes'
FILE = 'tokenizer.json'


def kind(tokenizer: str) -> str:
  """Returns 'bytes' or 'tokenizer.json' for a `config.data.tokenizer`."""
  return BYTES if tokenizer == BYTES else FILE


def find(folder: pathlib.Path, kind: str) -> str:
  """Returns the `config.data.tokenizer` for a folder that `write` wrote."""
  return BYTES if kind == BYTES else str(folder.absolute() / FILE)


def write(out: pathlib.Path, tokenizer: str, eos_id: int) -> None:
  """Writes tokenizer.json and tokenizer_config.json.

  Args:
    out: the directory.
    tokenizer: `config.data.tokenizer`, 'bytes' or a path.
    eos_id: the id that ends a document.
  """
  if tokenizer == BYTES:
    text = of_bytes().to_str()
  else:
    text = _as_trained(pathlib.Path(tokenizer).read_text())
  (out / FILE).write_text(text)
  eos = tokenizers_lib.Tokenizer.from_str(text).id_to_token(eos_id)
  settings = {
      'tokenizer_class': 'PreTrainedTokenizerFast',
      'eos_token': eos,
      'pad_token': eos,
      'padding_side': 'left',  # generation continues at the right
      'clean_up_tokenization_spaces': False,
      # A text may contain the text of the end of text: it is encoded as bytes.
      'split_special_tokens': tokenizer == BYTES,
  }
  (out / 'tokenizer_config.json').write_text(
      json.dumps(settings, indent=2) + '\n'
  )


def of_bytes() -> tokenizers_lib.Tokenizer:
  """Returns `tokenizers.Bytes` as a tokenizer.json: BPE without merges."""
  # Byte-level BPE writes a byte as a character: printable ones as themselves,
  # the others, in their order, as the characters from U+0100 on.
  alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
  printable = {c for c in alphabet if ord(c) < 256}
  others = iter(c for c in alphabet if c not in printable)
  characters = [
      chr(b) if chr(b) in printable else next(others) for b in range(256)
  ]
  vocabulary = {character: byte for byte, character in enumerate(characters)}
  eos = '<|endoftext|>'
  vocabulary[eos] = tokenizers.Bytes.eos_id
  tokenizer = tokenizers_lib.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
      add_prefix_space=False, use_regex=False
  )
  tokenizer.decoder = decoders.ByteLevel()
  tokenizer.add_special_tokens([eos])
  return tokenizer


def _as_trained(text):
  """A tokenizer.json without truncation, padding and added tokens."""
  tokenizer = tokenizers_lib.Tokenizer.from_str(text)
  adds = tokenizer.num_special_tokens_to_add(is_pair=False)
  if not adds and tokenizer.truncation is None and tokenizer.padding is None:
    return text
  content = json.loads(text)
  content |= {'truncation': None, 'padding': None}
  if adds:
    content['post_processor'] = None
  return json.dumps(content, ensure_ascii=False)
