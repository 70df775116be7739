"""Prints the oldest versions that setup.cfg allows, as name==version, on one line.

python .ci/oldest.py [EXTRA...]

They are the lower bounds of `install_requires` and of the extras that are named. A
requirement without one, such as jax[cuda13], is left out.
"""

import configparser
import pathlib
import re
import sys

SETUP = pathlib.Path(__file__).parents[1] / 'setup.cfg'


def oldest(setup: configparser.ConfigParser, extras: list[str]) -> list[str]:
  """Returns name==version for each lower bound.

  Raises:
    KeyError: there is no such extra.
  """
  lines = setup['options']['install_requires'].split('\n')
  for extra in extras:
    lines += setup['options.extras_require'][extra].split('\n')
  bounds = (re.match(r'([\w.-]+)>=([\w.]+)', line) for line in lines)
  return [f'{bound[1]}=={bound[2]}' for bound in bounds if bound]


if __name__ == '__main__':
  parser = configparser.ConfigParser()
  parser.read(SETUP)
  print(*oldest(parser, sys.argv[1:]))
