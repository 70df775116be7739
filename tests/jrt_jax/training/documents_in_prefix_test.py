"""Runs whose prefixes are several documents."""

import jax
import numpy as np
import pytest

from jrt_jax.training import program
from jrt_jax.training import run as run_lib


def train(run, step, steps):
  """Starts or continues a run; returns the state and the losses of steps."""
  (state, _), losses = run.start(), []
  for _ in range(steps):
    batch = next(run.data)
    assert batch['prefix_len'].shape == (8, 3)
    state, metrics = step(state, run.put(batch))
    losses.append(
        [metrics[f'{x}_token_loss'].item() for x in ('next', 'masked')]
    )
  return state, np.array(losses)


@pytest.mark.skipif(
    jax.device_count() < 8, reason='needs eight (virtual) devices'
)
def test_a_run_learns_and_is_continued_on_a_mesh(config, tmp_path):
  def make(**mesh):
    return config(
        data__documents_in_prefix=3,
        optimizer__peak_lr=3e-2,
        optimizer__warmup_steps=0,
        microbatch_per_device=4,
        **mesh,
    )

  with run_lib.Run(make(mesh__data=1), tmp_path) as run:
    step = program.compile_step(run)
    state, _ = train(run, step, 2)
    run.checkpoints.save(2, state, run.place())
    run.checkpoints.wait()
    _, expected = train(run, step, 4)
  assert (expected[-1] < expected[0] - 0.1).all()
  mesh = dict(mesh__data=2, mesh__fsdp=2, mesh__tensor=2)
  with run_lib.Run(make(**mesh), tmp_path) as run:
    _, actual = train(run, program.compile_step(run), 4)
  np.testing.assert_allclose(actual, expected, rtol=1e-4)
