"""Fuzzes the readers of files, guided by what of a reader a file has reached.

make fuzz
make fuzz ARGS='--seconds=60 state prefix_trials'

The seconds are divided among the readers, all of `fuzz.readers` by default. Each
runs in a process of its own, which ends at the first file that is neither read
nor refused in one line, or that takes more than 4 GiB or a minute. The bytes
that led to it are left in --out; `fuzz/one.py` tries them again. Needs atheris.
Exit codes: 0 when nothing was found, 1 otherwise.
"""

import argparse
import pathlib
import subprocess
import sys

from fuzz import readers


def main() -> int:
  parser = argparse.ArgumentParser(prog='python -m fuzz', description=__doc__)
  parser.add_argument('--seconds', type=int, default=3600)
  parser.add_argument('--out', type=pathlib.Path, default='runs/fuzz')
  parser.add_argument('readers', nargs='*', choices=[[], *readers.READERS])
  arguments = parser.parse_args()
  arguments.out.mkdir(parents=True, exist_ok=True)
  names = arguments.readers or [*readers.READERS]
  seconds = max(arguments.seconds // len(names), 1)
  found = [name for name in names if _fuzz(name, seconds, arguments.out)]
  print(f'found in {", ".join(found)}' if found else 'nothing was found')
  return bool(found)


def _fuzz(name, seconds, out):
  """Whether something was found."""
  print(f'{name}: {seconds} s', flush=True)
  options = [
      f'-max_total_time={seconds}',
      f'-artifact_prefix={out}/{name}-',
      '-rss_limit_mb=4096',
      '-timeout=60',
      '-max_len=64',
      '-verbosity=0',
      '-print_final_stats=1',
  ]
  command = [sys.executable, '-m', 'fuzz.one', name, *options]
  return subprocess.run(command).returncode != 0


if __name__ == '__main__':
  sys.exit(main())
