r"""Which rows of evaluations stand in training text, by the words they share.

python -m jrt_jax.data.contamination --train='reviews/*.txt.gz' \
    --rows='eval/*.jsonl.gz' --out=clean.jsonl.gz

A document and a row share an n-gram if n words stand in a row in both, in
whatever case and with whatever punctuation between them. What stands in more
than --common documents is a set phrase and does not count. --out gets the
documents that share nothing that counts, as JSON lines. The training text is
read twice and never held; memory grows with the rows alone. Exit codes: 0 at the
end, 2 for a mistake in the command or in a file, 130 after Ctrl-C.

Source of 13 words and 10 documents: Brown et al. 2020, appendix C,
https://arxiv.org/abs/2005.14165, who cut such passages out of documents; here
the whole document is left out.
"""

import contextlib
import gzip
import json

from absl import app
from absl import flags
import numpy as np

from jrt_jax import atomic_write
from jrt_jax import command_line
from jrt_jax import foreign
from jrt_jax.data import ngrams
from jrt_jax.data import sources
from jrt_jax.data import text_batches
from jrt_jax.reporting import tables

_TRAIN = flags.DEFINE_string(
    'train', None, 'Training text, plain, .gz or .zst: comma-separated globs.'
)
_ROWS = flags.DEFINE_string(
    'rows', None, 'JSON lines, plain, .gz or .zst: comma-separated globs.'
)
_OUT = flags.DEFINE_string(
    'out', None, 'A new .jsonl or .jsonl.gz for documents that share nothing.'
)
_N = flags.DEFINE_integer('n', 13, 'Words in a row.', lower_bound=1)
_COMMON = flags.DEFINE_integer(
    'common',
    10,
    'n-grams in more documents are set phrases; 0: none are.',
    lower_bound=0,
)
_FORMAT = flags.DEFINE_enum(
    'format', None, ['jsonl', 'text'], 'Default: what the extension says.'
)
_TEXT_KEY = flags.DEFINE_string(
    'text_key', 'text', 'Where a jsonl record keeps its text.'
)
_SEPARATOR = flags.DEFINE_string(
    'separator',
    '<|endoftext|>',
    'Between the documents of a text file; empty: a file is one document.',
)


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors():
    if not _TRAIN.value or not _ROWS.value:
      raise ValueError('--train=FILES and --rows=FILES must be given')
    train = sources.find('--train', _TRAIN.value)
    names = sources.find('--rows', _ROWS.value)
    out = _new_file(_OUT.value)
    files = [ngrams.Rows(_rows(name), _N.value) for name in names]
    for document in _documents(train, 'counting'):
      own = ngrams.distinct(document, _N.value)
      for rows in files:
        rows.found[rows.shared(own)] += 1
    documents, left = _divide(train, files, out)
    print(_report(names, files, documents, left))


def _new_file(path):
  """Returns where the documents go that are left; None: nowhere.

  What is there already could be the training text itself.
  """
  if not path:
    return None
  wanted = f'--out must be a new .jsonl or .jsonl.gz, got {path!r}'
  if not path.endswith(('.jsonl', '.jsonl.gz')):
    raise ValueError(wanted)
  file = command_line.output_file('--out', path)
  if file.exists():
    raise ValueError(f'{wanted}, which exists')
  return str(file)


def _rows(path):
  with sources.open_text(path) as (file, _):
    for number, line in enumerate(file, 1):
      if line.strip():
        yield foreign.parse_json(line, f'{path}:{number}', foreign.OBJECT)


def _documents(paths, progress):
  return text_batches.documents(
      paths,
      format=_FORMAT.value or text_batches.text_format('--train', paths),
      separator=_SEPARATOR.value,
      text_key=_TEXT_KEY.value,
      progress=progress,
  )


def _divide(train, files, out):
  """Writes the documents that share nothing.

  Returns how many share something with each file, and how many are left.
  """
  counted = [rows.counted(_COMMON.value) for rows in files]
  documents, left = np.zeros(len(files), int), 0
  with _output(out) as write:
    for document in _documents(train, 'comparing'):
      own = ngrams.distinct(document, _N.value)
      shares = [
          mask[rows.shared(own)].any() for rows, mask in zip(files, counted)
      ]
      documents += shares
      if document.strip() and not any(shares):
        left += 1
        write(json.dumps({'text': document}, ensure_ascii=False) + '\n')
  return documents, left


@contextlib.contextmanager
def _output(path):
  """A function that writes text to a file, which is there as a whole or not."""
  if not path:
    yield lambda text: None
    return
  with contextlib.ExitStack() as stack:
    new = stack.enter_context(atomic_write.replacing(path))
    file = stack.enter_context(open(new, 'wb'))
    if path.endswith('.gz'):  # without the time and the name
      file = stack.enter_context(
          gzip.GzipFile(filename='', mode='wb', fileobj=file, mtime=0)
      )
    yield lambda text: file.write(text.encode(errors='replace'))


def _report(names, files, documents, left):
  n, common = _N.value, _COMMON.value
  under = f'under {n} words'
  table = [('rows', under, 'share', 'with phrases', 'documents', 'file')]
  for name, rows, number in zip(names, files, documents):
    counts = (
        len(rows.of_row),
        rows.having(None),
        rows.having(rows.counted(common)),
        rows.having(rows.found > 0),
        number,
    )
    table.append((*(f'{x:,}' for x in counts), name))
  phrases = f' that stand in at most {common} documents' if common else ''
  return (
      f'{tables.aligned(table, ">>>>><")}\n'
      f'{left:,} documents share no {n} words in a row{phrases} with any row'
  )


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
