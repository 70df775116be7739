"""`make lint` and pre-commit run the same versions of the same tools."""

import configparser
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]


def test_pre_commit_runs_the_versions_that_make_lint_runs():
  setup = configparser.ConfigParser()
  setup.read(ROOT / 'setup.cfg')
  wanted = {*setup['options.extras_require']['lint'].split()}
  text = (ROOT / '.pre-commit-config.yaml').read_text()
  hooks = {*re.findall(r'additional_dependencies: \[(.*)\]', text)}
  assert hooks <= wanted
  (left,) = wanted - hooks
  assert left.startswith('pyright')  # which takes too long before each commit
