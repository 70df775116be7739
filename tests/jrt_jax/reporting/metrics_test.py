import io
import json
import struct
import types

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from jrt_jax.reporting import metrics


def read(workdir):
  text = (workdir / 'metrics.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def read_events(workdir):
  """Returns {(step, name): value} as TensorBoard would show it."""
  shown = {}
  for path in sorted(workdir.glob('events.*')):
    data = path.read_bytes()
    while data:  # records of length, crc, event, crc
      (length,) = struct.unpack('<Q', data[:8])
      event = event_pb2.Event.FromString(data[12 : 12 + length])
      data = data[16 + length :]
      if event.session_log.status == event_pb2.SessionLog.START:
        shown = {k: v for k, v in shown.items() if k[0] < event.step}
      for value in event.summary.value:
        shown[event.step, value.tag] = value.simple_value
  return shown


def test_each_write_is_one_line_of_json(tmp_path):
  with metrics.MetricWriter(tmp_path) as writer:
    writer.write(10, {'loss': jnp.float32(0.5), 'skipped': jnp.int32(3)})
    assert len(read(tmp_path)) == 1  # at once, not when it is closed
    writer.write(20, {'loss': np.float64(0.25), 'mfu': None})
  assert read(tmp_path) == [
      {'step': 10, 'loss': 0.5, 'skipped': 3},
      {'step': 20, 'loss': 0.25, 'mfu': None},
  ]
  assert read_events(tmp_path) == {
      (10, 'loss'): 0.5,
      (10, 'skipped'): 3,
      (20, 'loss'): 0.25,
  }


@pytest.mark.parametrize('value', [float('nan'), jnp.inf, -np.inf])
def test_what_is_not_finite_is_null(tmp_path, value):
  with metrics.MetricWriter(tmp_path) as writer:
    writer.write(1, {'loss': value})
  assert (tmp_path / 'metrics.jsonl').read_text() == (
      '{"step": 1, "loss": null}\n'
  )


def write(workdir, steps, sign=1, resumed=0):
  with metrics.MetricWriter(workdir, resumed) as writer:
    for step in steps:
      writer.write(step, {'loss': sign * step})


@pytest.mark.parametrize('resumed', [0, 15, 20, 30])
def test_a_resumed_run_reads_like_an_uninterrupted_one(tmp_path, resumed):
  write(tmp_path, (10, 20, 30))
  with open(tmp_path / 'metrics.jsonl', 'a') as file:
    file.write('{"step": 40, "lo')  # killed while it wrote
  again = [step for step in (10, 20, 30, 40) if step > resumed]
  write(tmp_path, again, sign=-1, resumed=resumed)
  expected = {s: -s if s in again else s for s in (10, 20, 30, 40)}
  assert [(m['step'], m['loss']) for m in read(tmp_path)] == [*expected.items()]
  assert read_events(tmp_path) == {
      (step, 'loss'): loss for step, loss in expected.items()
  }


@pytest.mark.parametrize('rest', ['{"step": 20, "lo\n', '\0' * 9 + '\n'])
def test_what_a_power_cut_left_is_dropped(tmp_path, rest):
  write(tmp_path, (10,))
  with open(tmp_path / 'metrics.jsonl', 'a') as file:
    file.write(rest)
  write(tmp_path, (20,), resumed=20)
  assert [m['step'] for m in read(tmp_path)] == [10, 20]


class Terminal(io.StringIO):

  def isatty(self):
    return True


@pytest.fixture
def clock(monkeypatch):
  clock = types.SimpleNamespace(now=100.0)
  monkeypatch.setattr(metrics.time, 'perf_counter', lambda: clock.now)
  return clock


def test_without_a_terminal_each_update_is_a_line_with_eta(clock):
  file = io.StringIO()
  clock.now += 1000  # compiling is over
  progress = metrics.Progress(total=100, start=40, file=file)
  for step in (50, 60):
    clock.now += 10
    progress.advance(step)
    progress.update(step, {'loss': 2.345678, 'tok/s': '1.2k'})
  progress.print('saved')
  progress.close()
  assert file.getvalue().splitlines() == [
      'step 50/100  loss 2.346  tok/s 1.2k  ETA 50s',
      'step 60/100  loss 2.346  tok/s 1.2k  ETA 40s',
      'saved',
  ]


def test_a_terminal_gets_a_bar_that_starts_where_the_run_does():
  file = Terminal()
  progress = metrics.Progress(total=100, start=40, file=file)
  progress.update(60, {'loss': 2.345678})
  progress.print('saved')
  progress.close()
  assert '40/100' in file.getvalue() and '60/100' in file.getvalue()
  assert 'loss 2.346' in file.getvalue() and 'saved\n' in file.getvalue()


def test_the_bar_moves_between_two_updates():
  file = Terminal()
  progress = metrics.Progress(total=100, file=file)
  progress.update(60, {'loss': 2.345678})
  progress.advance(75)
  progress.close()
  assert '75/100' in file.getvalue() and 'loss 2.346' in file.getvalue()


def test_it_is_known_what_was_evaluated(tmp_path):
  assert not metrics.has_recorded(tmp_path, 1, 'held_out/')
  with metrics.MetricWriter(tmp_path) as writer:
    writer.write(1, {'held_out/next_token_loss': 3.5})
    writer.write(2, {'loss': 3.5})
  assert metrics.has_recorded(tmp_path, 1, 'held_out/')
  assert not metrics.has_recorded(tmp_path, 1, 'probe/')
  assert not metrics.has_recorded(tmp_path, 2, 'held_out/')
