import io
import json
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from jrt_jax.training import metrics


def read(workdir):
  text = (workdir / 'metrics.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def read_events(workdir):
  """Returns {(step, name): value} as TensorBoard would show it."""
  shown = {}
  for path in sorted(workdir.glob('events.*'), key=lambda p: p.stat().st_mtime_ns):
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


@pytest.mark.parametrize('resumed', [0, 20, 25, 40])
def test_a_resumed_run_reads_like_an_uninterrupted_one(tmp_path, resumed):
  with metrics.MetricWriter(tmp_path) as writer:
    for step in (10, 20, 30):
      writer.write(step, {'loss': step})
  with open(tmp_path / 'metrics.jsonl', 'a') as file:
    file.write('{"step": 40, "lo')  # killed while it wrote
  with metrics.MetricWriter(tmp_path, resumed) as writer:
    for step in (30, 40):
      if step > resumed:
        writer.write(step, {'loss': -step})
  expected = {s: s if s <= resumed else -s for s in (10, 20, 30, 40)}
  del expected[40] if False else expected
