import pathlib
import subprocess
import sys

import pytest

import pallas_kernels
from pallas_kernels.selfcheck import __main__ as command
from pallas_kernels.selfcheck.verdict import Verdict

REPORT = {
    'checks': {
        'a forward': {'errors': {'y': 0.0021}, 'equal': 20},
        'a gradients': {'errors': {'q': 0.0034, 'k': 0.001}, 'equal': 20},
    },
    'ms': {'mosaic_sm90': 0.21, 'chunked': 2.5},
}


@pytest.fixture
def main(monkeypatch, capsys):
  """Runs the command on these verdicts; returns code, lines and options."""

  def main(*argv, verdicts=(Verdict(64, None, REPORT),)):
    given = []

    def decide(widths, **options):
      given.append((tuple(widths), options))
      return verdicts

    monkeypatch.setattr(command.verdict_lib, 'decide', decide)
    code = command.main(list(argv))
    return code, capsys.readouterr().out.splitlines(), given[0]

  return main


def test_kernels_that_may_run_are_a_line_with_times(main):
  code, lines, _ = main()
  assert code == 0
  assert lines == [
      'V 64: mosaic_sm90; largest error 0.0034; with gradients mosaic_sm90'
      ' 0.21 ms, chunked 2.5 ms'
  ]


def test_a_reason_is_a_line(main):
  refused = Verdict(112, 'there was no answer')
  code, lines, _ = main(verdicts=[Verdict(64, None, REPORT), refused])
  assert code == 1
  assert lines[1] == 'V 112: chunked, because there was no answer'


def test_flags_say_what_is_decided_and_how_long_it_may_take(main):
  _, _, given = main()
  assert given == ((64, 112, 128), {'limit': 600.0})
  _, _, given = main('--value_widths=64', '--timeout=7')
  assert given == ((64,), {'limit': 7.0})


@pytest.mark.parametrize(
    'flags, message',
    [
        (
            ['--value_widths=64,65'],
            'argument --value_widths: invalid choice: 65',
        ),
        (['--timeout=0'], '--timeout must be above 0 and at most 3600, got 0'),
        (['--x'], 'unrecognized arguments: --x'),
    ],
)
def test_a_mistake_is_one_line(flags, message, capsys):
  with pytest.raises(SystemExit) as stopped:
    command.main(flags)
  assert stopped.value.code == 2
  said = capsys.readouterr().err
  assert message in said and said.count('\n') == 1


def test_a_machine_without_a_gpu_takes_chunks():
  done = subprocess.run(
      [sys.executable, '-m', 'pallas_kernels.selfcheck', '--value_widths=64'],
      cwd=pathlib.Path(pallas_kernels.__file__).parent.parent,
      capture_output=True,
      text=True,
  )
  assert done.returncode == 1 and not done.stderr
  assert done.stdout == 'V 64: chunked, because jax finds no GPU\n'
