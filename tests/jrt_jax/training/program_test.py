import re

import jax
import numpy as np
import pytest

from jrt_jax.runtime import memory
from jrt_jax.training import program
from jrt_jax.training import run as run_lib


@pytest.fixture
def compile_step(run_config, tmp_path, monkeypatch):
  """Compiles the step of a small run where so many bytes are free."""
  text = tmp_path / 'text.txt'
  text.write_text('the cat sat on the mat; ' * 4000)

  def compile_step(free, **keys):
    config = run_config(
        data__path=str(text),
        sequence_length=64,
        mesh__data=1,
        model__mixers=('conv',),
        **keys,
    )
    monkeypatch.setattr(memory, 'free', lambda devices, processes: free)
    with run_lib.Run(config, tmp_path / 'run') as run:
      return program.compile_step(run)

  return compile_step


def test_a_step_that_does_not_fit_is_refused_with_what_does(
    compile_step, capsys
):
  with pytest.raises(memory.TooLittle) as error:
    compile_step(free=1_200_000, microbatch_per_device=8)
  line = str(error.value)
  assert '\n' not in line and 'but only 1.14 MiB are free' in line
  microbatch, remat = re.search(
      '--config.microbatch_per_device=(.*) --config.model.remat=(.*) takes',
      line,
  ).groups()
  assert 1 < int(microbatch) < 8 and remat == 'none'
  assert capsys.readouterr().err.startswith('compiling …\ncompiled in')
  fits = compile_step(free=1_200_000, microbatch_per_device=int(microbatch))
  assert memory.needed(fits) <= 1_200_000


def test_where_nothing_would_fit_the_least_is_said(compile_step):
  with pytest.raises(memory.TooLittle, match='even .*=1 .*=full takes .* KiB'):
    compile_step(free=1000, microbatch_per_device=1, model__remat='full')


def test_where_nobody_knows_what_is_free_nothing_is_refused(compile_step):
  assert compile_step(free=None, microbatch_per_device=8)


def train_on_documents(run, step, steps):
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
def test_a_run_with_documents_in_its_prefix_learns_and_is_continued_on_a_mesh(
    config, tmp_path
):
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
    state, _ = train_on_documents(run, step, 2)
    run.checkpoints.save(2, state, run.place())
    run.checkpoints.wait()
    _, expected = train_on_documents(run, step, 4)
  assert (expected[-1] < expected[0] - 0.1).all()
  mesh = dict(mesh__data=2, mesh__fsdp=2, mesh__tensor=2)
  with run_lib.Run(make(**mesh), tmp_path) as run:
    _, actual = train_on_documents(run, program.compile_step(run), 4)
  np.testing.assert_allclose(actual, expected, rtol=1e-4)
