r"""Finds evaluation rows in training text by n-grams that both contain.

python -m jrt_jax.data.contamination --input='reviews/*.txt.gz' \
    --rows='eval/*.jsonl.gz' --out=clean.jsonl.gz

A document and a row share an n-gram if both contain the same n consecutive
words; case and punctuation are ignored. An n-gram in more than --common
documents is a set phrase and does not count. --out receives the documents that
share no n-gram that counts, as JSON lines. The training text is read twice and
is never held in memory; memory grows with the rows only. Exit codes: 0 for
success, 2 for a mistake in the command or in a file, 130 after Ctrl-C.

Source of 13 words and 10 documents: Brown et al. 2020, appendix C,
https://arxiv.org/abs/2005.14165. They cut such passages out of documents; here
the whole document is left out.
"""

import contextlib
import gzip
import json
import os

from absl import app
from absl import flags
import numpy as np

from jrt_jax import atomic_write
from jrt_jax import command_line
from jrt_jax import foreign
from jrt_jax.command_line import text_flags
from jrt_jax.data import ngrams
from jrt_jax.data import sources
from jrt_jax.data import text_batches
from jrt_jax.reporting import tables

_INPUT = flags.DEFINE_string(
    'input',
    None,
    'Training text: comma-separated globs of files (plain, .gz or .zst).',
)
_ROWS = flags.DEFINE_string(
    'rows',
    None,
    'Evaluation rows as JSON lines: comma-separated globs of files (plain, .gz'
    ' or .zst).',
)
_OUT = flags.DEFINE_string(
    'out',
    None,
    'Write the documents that share no n-gram to this new .jsonl or .jsonl.gz.',
)
_N = flags.DEFINE_integer('n', 13, 'Words of an n-gram.', lower_bound=1)
_COMMON = flags.DEFINE_integer(
    'common',
    10,
    'Ignore n-grams that more than so many documents contain; 0: ignore none.',
    lower_bound=0,
)
_reading = text_flags.define()


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors():
    train = sources.find('--input', command_line.required(_INPUT, 'FILES'))
    names = sources.find('--rows', command_line.required(_ROWS, 'FILES'))
    out = _new_file()
    files = [ngrams.Rows(_rows(name), _N.value) for name in names]
    for document in _documents(train, 'counting'):
      own = ngrams.distinct(document, _N.value)
      for rows in files:
        rows.found[rows.shared(own)] += 1
    documents, left = _divide(train, files, out)
    print(_report(names, files, documents, left))


def _new_file():
  """Returns the file for the documents that are left; None without --out.

  It must be new: an existing file could be the training text itself.
  """
  path = _OUT.value
  if not path:
    return None
  wanted = f'--out must be a new .jsonl or .jsonl.gz, got {path!r}'
  if not path.endswith(('.jsonl', '.jsonl.gz')):
    raise ValueError(wanted)
  file = command_line.output_file(_OUT)
  if file.exists():
    raise ValueError(f'{wanted}, which exists')
  return str(file)


def _rows(path):
  for place, line in sources.lines(path):
    yield foreign.parse_json(line, place, foreign.OBJECT)


def _documents(paths, progress):
  return text_batches.documents(paths, **_reading(paths), progress=progress)


def _divide(train, files, out):
  """Writes the documents that share no n-gram with any row.

  Returns how many documents share one with each file, and how many are left.
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
  """Yields a function that writes text; the file appears when complete."""
  if not path:
    yield lambda text: None
    return
  with contextlib.ExitStack() as stack:
    new = stack.enter_context(atomic_write.replacing(path))
    file = stack.enter_context(open(new, 'wb'))
    if path.endswith('.gz'):  # reproducible: without time and name
      file = stack.enter_context(
          gzip.GzipFile(filename='', mode='wb', fileobj=file, mtime=0)
      )
    yield lambda text: file.write(text.encode(errors='replace'))


def _short(path, paths):
  """The file's name without its folders, where that tells it from the others."""
  name = os.path.basename(path)
  return path if sum(os.path.basename(x) == name for x in paths) > 1 else name


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
    table.append((*(f'{x:,}' for x in counts), _short(name, names)))
  ignored = f'; n-grams in more than {common} documents do not count'
  summary = tables.paragraph(
      f'{left:,} documents share no {n}-gram with any row'
      f'{ignored if common else ""}'
  )
  return f'{tables.aligned(table, ">>>>><")}\n{summary}'


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
