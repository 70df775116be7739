"""Fuzzes one reader, or tries files that have led to something.

PYTHONPATH=tests python -m fuzz.one READER [OPTION OF LIBFUZZER | FILE]...
"""

import pathlib
import sys
import tempfile

import atheris

with atheris.instrument_imports(include=['configs', 'jrt_jax', 'fuzz']):
  from fuzz import readers


def main() -> None:
  command, name, *options = sys.argv
  reader = readers.READERS[name]
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    reader.write(folder)
    content = (folder / reader.file).read_bytes()
    atheris.Setup(
        [command, *options],
        lambda data: reader.trial(folder, content, data),
    )
    atheris.Fuzz()


if __name__ == '__main__':
  main()
