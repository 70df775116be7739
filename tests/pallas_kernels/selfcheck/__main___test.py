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


def test_a_reason_is_a_line_and_says_of_when_it_is(main):
  code, lines, _ = main(
      verdicts=[
          Verdict(64, None, REPORT),
          Verdict(112, 'there was no answer', None, '2026-11-30'),
      ]
  )
  assert code == 1
  assert lines[1] == (
      'V 112: chunked, because there was no answer (of 2026-11-30; --force asks'
      ' anew)'
  )


def test_flags_say_what_is_decided_and_kept(main):
  _, _, (widths, options) = main()
  assert widths == (64, 112, 128)
  assert options == {'force': False, 'keep': True, 'limit': 120.0}
  _, _, (widths, options) = main(
      *('--V', '64', '--force', '--nocache', '--limit', '7')
  )
  assert widths == (64,)
  assert options == {'force': True, 'keep': False, 'limit': 7.0}


@pytest.mark.parametrize('flags', [['--V', '65'], ['--limit', '0'], ['--x']])
def test_a_mistake_is_one_line(flags, capsys):
  with pytest.raises(SystemExit) as stopped:
    command.main(flags)
  assert stopped.value.code == 2
  assert capsys.readouterr().err.count('\n') == 1


def test_a_machine_without_a_gpu_takes_chunks():
  done = subprocess.run(
      [sys.executable, '-m', 'pallas_kernels.selfcheck', '--V', '64'],
      cwd=pathlib.Path(pallas_kernels.__file__).parent.parent,
      capture_output=True,
      text=True,
  )
  assert done.returncode == 1 and not done.stderr
  assert done.stdout == 'V 64: chunked, because there is no GPU\n'
