r"""Trains a byte-level BPE tokenizer on text.

python -m jrt_jax.data.train_tokenizer --input='reviews/*.txt.gz' \
    --vocab_size=4095 --out=tokenizer.json

The tokenizer has an end-of-text token. The model adds [MASK], so that 4,095 ids
become a vocabulary of 4,096. Any text can be tokenized and decoded without
loss, since single bytes are tokens too. The same text and size give the same
file. Exit codes: 0 for success, 2 for a mistake in the command or in the text,
130 after Ctrl-C.
"""

from absl import app
from absl import flags

from jrt_jax import atomic_write
from jrt_jax import command_line
from jrt_jax.command_line import text_flags
from jrt_jax.data import byte_level_bpe
from jrt_jax.data import sources
from jrt_jax.data import text_batches

_INPUT = flags.DEFINE_string(
    'input', None, 'Comma-separated globs of files (plain, .gz or .zst).'
)
_OUT = flags.DEFINE_string('out', None, 'The tokenizer.json to write.')
_VOCAB_SIZE = flags.DEFINE_integer(
    'vocab_size',
    4095,
    'Number of ids, including the end of text but not [MASK].',
)
_reading = text_flags.define()


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors():
    pattern = command_line.required(_INPUT, 'FILES')
    out = command_line.output_file(_OUT)
    byte_level_bpe.check_size('--vocab_size', _VOCAB_SIZE.value)
    paths = sources.find('--input', pattern)
    texts = text_batches.documents(paths, **_reading(paths), progress='reading')
    tokenizer = byte_level_bpe.train(texts, _VOCAB_SIZE.value)
    with atomic_write.replacing(out) as new:
      tokenizer.save(str(new))
  print(f'{out}: {tokenizer.get_vocab_size():,} ids')


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
