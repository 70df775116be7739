"""The command `python -m jrt_jax.export`, run as a user runs it."""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from configs import base
from jrt_jax import models
from jrt_jax.interchange import hugging_face
from jrt_jax.training import workdirs

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope='module')
def run(tiny_config, tmp_path_factory):
  """A workdir and its params."""
  config = base.get_config().to_dict()
  config['model'] = tiny_config(mixers=['conv'], vocab_size=258, mask_id=257)
  _, shapes = models.abstract(config['model'])
  params = {
      name: np.full(x.shape, i, np.float32)
      for i, (name, x) in enumerate(shapes.items())
  }
  workdir = tmp_path_factory.mktemp('run') / 'workdir'
  workdirs.write(workdir, config, params, origin='a test')
  return workdir, params


def export(*arguments):
  return subprocess.run(
      [sys.executable, '-m', 'jrt_jax.export', *arguments],
      cwd=ROOT,
      capture_output=True,
      text=True,
  )


def test_a_run_becomes_a_directory(run, tmp_path):
  workdir, params = run
  done = export(f'--workdir={workdir}', f'--out={tmp_path}/new/hf')
  assert done.returncode == 0, done.stderr
  assert done.stdout == f'wrote step 0 of {workdir} to {tmp_path}/new/hf\n'
  base_config = base.get_config().to_dict()
  _, exported = hugging_face.read(tmp_path / 'new' / 'hf', base_config)
  assert exported.keys() == params.keys()
  for name, x in params.items():
    np.testing.assert_array_equal(exported[name], x)


@pytest.mark.slow  # interchange/folders_test.py has the refusal
def test_a_folder_with_files_is_refused_in_one_line(error_line, run):
  done = export(f'--workdir={run[0]}', f'--out={run[0]}')
  assert done.returncode == 2
  line = error_line(done.stderr)
  assert line.startswith('error: --out must be an empty folder or a new one')


def test_an_unfinished_run_is_said_to_be_so(run, tmp_path):
  workdir = shutil.copytree(run[0], tmp_path / 'run')
  checkpoints = workdir / 'checkpoints'
  (checkpoints / '0').rename(checkpoints / '3')  # as after three steps
  done = export(f'--workdir={workdir}', f'--out={tmp_path}/hf')
  assert done.returncode == 0, done.stderr
  steps = base.get_config().steps
  assert done.stdout.splitlines() == [
      f'wrote step 3 of {workdir} to {tmp_path}/hf',
      f'the run is not finished: it has {steps} steps',
  ]
