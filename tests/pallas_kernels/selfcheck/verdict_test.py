"""Whatever another process does, the verdict is right, or it is `chunked`."""

import json
import os
import sys
import time

import jax
import pytest

from pallas_kernels.benchmarks import correctness
from pallas_kernels.selfcheck import checks
from pallas_kernels.selfcheck import verdict

pytestmark = pytest.mark.skipif(
    jax.__version_info__ < (0, 11, 2), reason='the kernels need jax 0.11.2'
)

H100 = {
    'device': 'NVIDIA H100 PCIe',
    'platform': 'gpu',
    'compute_capability': '9.0',
}

# Answers as the real one does; a string is a program to run instead.
WORKER = """
import json, os, sys, time
def tell(answer): print(json.dumps(answer), flush=True)
answer = json.loads(sys.argv[1])[sys.argv[2] == 'check']
if isinstance(answer, str):
  print(answer, file=sys.stderr)
  exec(answer)
else:
  tell(answer)
"""


def report(**changes):
  """What a process says where everything is right."""
  return {
      'V': 64,
      'about': H100,
      'checks': {
          name: {
              'errors': dict.fromkeys(sorted(results), 0.002),
              'equal': correctness.EQUAL,
          }
          for name, results in checks._expected().items()
      },
      'reason': None,
      'ms': {'mosaic_sm90': 0.2, 'chunked': 2.0},
  } | changes


def worse(check, **changes):
  """The checks of a report, with another result in one of them."""
  found = report()['checks']
  return found | {check: found[check] | changes}


def without(check):
  return {n: x for n, x in report()['checks'].items() if n != check}


@pytest.fixture
def decide():
  """Decides with a process that gives these answers."""

  def decide(check, about=H100, **options):
    worker = [sys.executable, '-S', '-c', WORKER, json.dumps([about, check])]
    (found,) = verdict.decide([64], worker=worker, **options)
    return found

  return decide


def test_kernels_that_are_right_may_run(decide):
  found = decide(report())
  assert found.reason is None and found.implementation == 'mosaic_sm90'
  assert found.report['ms'] == {'mosaic_sm90': 0.2, 'chunked': 2.0}


def test_a_verdict_comes_before_the_next_width_is_asked_for(monkeypatch):
  monkeypatch.setattr(verdict, '_decide', lambda V, *_, **__: asked.append(V))
  monkeypatch.setattr(verdict.process, 'ask', lambda *_, **__: H100)
  asked = []
  verdicts = verdict.decide([64, 112])
  next(verdicts)
  assert asked == [64]


def test_time_decides_nothing(decide):
  slow = report(ms={'mosaic_sm90': 99.0, 'chunked': 1.0})
  assert decide(slow).implementation == 'mosaic_sm90'


WRONG = 'prefix gradients: k differs by 0.5, more than 0.01'
OTHER = 'its report is of another device or another width'
LACKS = 'its report lacks something, or is none'
LIES = 'its report contradicts itself'
ERRORS = report()['checks']['prefix gradients']['errors']


@pytest.mark.parametrize(
    'check, reason',
    [
        # crashes
        ('os._exit(7)', 'the process ended with code 7: os._exit(7)'),
        ('os.abort()', 'the process ended with signal 6 (Aborted): os.abort()'),
        (
            "tell('all is well'); sys.exit('late\\n\\x1b[31m')",
            'the process ended with code 1: ?[31m',
        ),
        # refuses
        ({'failed': 'ValueError: D is odd'}, 'ValueError: D is odd'),
        ({'failed': ''}, 'it failed without a reason'),
        # is wrong, and says so
        (
            report(
                checks=worse('prefix gradients', errors=ERRORS | {'k': 0.5}),
                reason=WRONG,
            ),
            WRONG,
        ),
        (
            report(
                checks=worse('split forward', equal=19),
                reason='split forward: only 19 of 20 repetitions are equal',
            ),
            'split forward: only 19 of 20 repetitions are equal',
        ),
        # lies
        ('print("fine")', 'it printed something else than JSON'),
        ('pass', 'it printed something else than JSON'),
        ('print("[" * 50000)', 'it printed something else than JSON'),
        ('print([1])', 'it printed something else than a JSON object'),
        ('print("7" * 70000)', 'it printed more than 65536 bytes'),
        ({}, LACKS),
        ({'verdict': 'mosaic_sm90'}, LACKS),
        (report(checks={}), LACKS),
        (report(checks=without('ragged forward')), LACKS),
        (report(checks=worse('ragged forward', errors={})), LACKS),
        (report(checks=worse('split forward', equal=21)), LACKS),
        (report(checks=worse('split forward', equal='20')), LACKS),
        (report(ms={}), LACKS),
        (
            report(
                checks=worse('prefix gradients', errors=ERRORS | {'k': -1.0})
            ),
            LACKS,
        ),
        (
            report(
                checks=worse('prefix gradients', errors=ERRORS | {'k': 0.5})
            ),
            LIES,
        ),
        (
            report(
                checks=worse(
                    'prefix gradients', errors=ERRORS | {'k': float('nan')}
                )
            ),
            LIES,
        ),
        (report(reason='I do not like it'), LIES),
        (report(V=128), OTHER),
        (report(about=H100 | {'device': 'NVIDIA H200'}), OTHER),
    ],
)
def test_all_else_is_chunked_with_the_reason_in_one_line(decide, check, reason):
  found = decide(check)
  assert found.implementation == 'chunked'
  assert found.reason == reason


def test_what_hangs_is_ended_and_chunked(decide):
  found = decide('time.sleep(600)', limit=1.0)
  assert found.implementation == 'chunked'
  assert found.reason == 'there was no answer after 1 seconds'


def test_what_cannot_be_started_is_chunked():
  (found,) = verdict.decide([64], worker=['/no/such/python'])
  assert found.reason == (
      'the device could not be described: it could not be started: No such file'
      ' or directory'
  )


def test_the_gpu_that_is_asked_about_is_all_that_it_sees(decide, monkeypatch):
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,5,6,7')
  monkeypatch.setenv('JAX_CUDA_VISIBLE_DEVICES', '2,3')
  sees = 'sys.exit(str([x for x in os.environ.items() if "VISIBLE" in x[0]]))'
  assert "[('CUDA_VISIBLE_DEVICES', '6')]" in decide(sees, gpu='6').reason
  assert '4,5,6,7' in decide(sees).reason


def test_what_it_has_started_is_ended_as_well(decide, tmp_path):
  pipe = tmp_path / 'pipe'
  os.mkfifo(pipe)
  reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
  found = decide(
      f'import subprocess; pipe = open("{pipe}", "w");'
      ' subprocess.Popen(["sleep", "600"], stdout=pipe); os.abort()'
  )
  assert 'signal 6' in found.reason  # it came as far as that
  for _ in range(100):  # until the system has ended it, and so closed the pipe
    try:
      assert os.read(reader, 1) == b''
      break
    except BlockingIOError:
      time.sleep(0.05)
  else:
    pytest.fail('it still runs')
  os.close(reader)


@pytest.mark.parametrize(
    'about, reason',
    [
        (H100 | {'platform': 'cpu'}, 'jax finds no GPU'),
        (
            H100 | {'device': 'NVIDIA A100', 'compute_capability': '8.0'},
            'NVIDIA A100 is no Hopper GPU',
        ),
        ({}, 'the device could not be described: something is missing'),
        (
            {'failed': 'RuntimeError: no driver'},
            'the device could not be described: RuntimeError: no driver',
        ),
        (
            'os._exit(3)',
            'the device could not be described: the process ended with code 3:'
            ' os._exit(3)',
        ),
        (
            'time.sleep(600)',
            'the device could not be described: there was no answer after 1'
            ' seconds',
        ),
    ],
)
def test_where_kernels_cannot_run_none_is_tried(decide, about, reason):
  found = decide(report(), about, limit=1.0)
  assert found.implementation == 'chunked'
  assert found.reason == reason
  answered = isinstance(about, dict) and 'failed' not in about
  assert (found.report is not None) == answered
