import json
import re

import pytest

from jrt_jax.planning import budget
from pallas_kernels import virtual_gpus


@pytest.fixture
def plan(run_command):
  """A function that runs the command, and returns what is left of it."""

  def plan(*arguments, **environment):
    return run_command(
        'jrt_jax.plan',
        '--config=configs/jrt_tiny.py',
        *arguments,
        **environment,
    )

  return plan


def test_a_plan_is_a_table_and_json(plan, tmp_path):
  file = tmp_path / 'plan.json'
  done = plan('--topology=4xH200', f'--out={file}', '--config.steps=7')
  assert done.returncode == 0, done.stderr
  assert '1,316,864' in done.stdout and 'peak, estimated' in done.stdout
  found = json.loads(file.read_text())
  assert sum(found['parameters'].values()) == 1_316_864
  assert found['run']['tokens'] == 7 * 4 * 512
  assert found['run']['mfu'] == budget.PREDICTED_MFU
  assert found['gpus']['name'] == 'H200'
  assert found['gpus']['gpu']['memory_gib'] == 141


def test_planning_never_imports_jax(plan):
  done = plan('--topology=1xA100', PYTHONPROFILEIMPORTTIME='1')
  assert done.returncode == 0, done.stderr
  imported = {*re.findall(r'\| +([\w.]+)$', done.stderr, re.MULTILINE)}
  assert 'jrt_jax.planning.budget' in imported
  assert not imported & {'jax', 'jaxlib', 'flax', 'optax', 'orbax', 'grain'}


def test_where_there_is_no_compiler_the_plan_says_so_and_is_made(plan):
  done = plan('--topology=4xA100', '--compile')
  assert done.returncode == 0 and '1,316,864' in done.stdout
  assert done.stderr.startswith('note: --compile supports H100 and H200 only')
  assert done.stderr.count('\n') == 1


@pytest.mark.skipif(not virtual_gpus.missing(), reason='the compiler is there')
@pytest.mark.parametrize('flag', ['--compile', '--traffic'])
def test_without_the_compiler_it_says_how_to_install_it(plan, flag):
  done = plan('--topology=4xH100', flag)
  assert done.returncode == 2 and not done.stdout
  assert virtual_gpus.missing() in done.stderr
  assert done.stderr.count('\n') == 1


@pytest.mark.parametrize(
    'argument, message',
    [
        ('--topology=8xH1000', '--topology must be NxGPU or NODESxNxGPU'),
        ('--topology=3xH100', 'config.batch_size must be a multiple of 3'),
        ('--mfu=2', '--mfu'),
        ('--mfu=nan', '--mfu=nan: must be a finite number'),
        ('--price=-1', '--price'),
        ('--price=nan', '--price=nan: must be a finite number'),
        ('--price=inf', '--price=inf: must be a finite number'),
        ('--config.stepps=1', "did you mean 'steps'?"),
    ],
)
def test_a_mistake_is_one_line(plan, argument, message):
  done = plan(argument)
  assert done.returncode == 2 and not done.stdout
  assert done.stderr.startswith('error: ') and message in done.stderr
  assert done.stderr.count('\n') == 1
