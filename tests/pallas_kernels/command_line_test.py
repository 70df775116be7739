"""Flags of the commands: their old names, lists of values, and mistakes."""

import pytest

from pallas_kernels import command_line
from pallas_kernels.benchmarks import __main__ as benchmarks
from pallas_kernels.benchmarks import prefix_linear_attention
from pallas_kernels.selfcheck import __main__ as selfcheck


def error_of(capsys, function, *arguments):
  """The line with which a command ends."""
  with pytest.raises(SystemExit) as stopped:
    function([*arguments])
  assert stopped.value.code == 2
  said = capsys.readouterr().err
  assert said.count('\n') == 1
  return said.strip()


@pytest.mark.parametrize(
    'main, old, new',
    [
        (benchmarks.main, '--budget=9', '--time_budget'),
        (prefix_linear_attention.main, '--json=a', '--out'),
        (
            prefix_linear_attention.main,
            '--quadratic-up-to=9',
            '--quadratic_up_to',
        ),
        (selfcheck.main, '--V=64', '--value_widths'),
        (selfcheck.main, '--limit=9', '--timeout'),
    ],
)
def test_an_old_flag_names_the_new_one(capsys, main, old, new):
  name = old.partition('=')[0]
  assert error_of(capsys, main, old) == f'error: {name} is now {new}'


def test_values_are_separated_by_commas(capsys):
  parser = command_line.Parser(prog='a')
  parser.add_argument('--n', type=command_line.several(int, (1, 2)))
  assert parser.parse(['--n=2,1']).n == (2, 1)
  assert error_of(capsys, parser.parse, '--n', '1', '2') == (
      "error: values of a flag are separated by commas, got '2'"
  )
  assert error_of(capsys, parser.parse, '--n=1,3') == (
      'error: argument --n: invalid choice: 3 (choose from 1, 2)'
  )
  assert error_of(capsys, parser.parse, '--x') == (
      'error: unrecognized arguments: --x'
  )
