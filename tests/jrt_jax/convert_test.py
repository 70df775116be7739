"""The command `python -m jrt_jax.convert`, run as a user runs it."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tokenizers

from configs import base
from jrt_jax import weights
from jrt_jax.interchange import official
from jrt_jax.training import workdirs

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / 'tests' / 'golden' / 'jrt_tiny.npz'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
  """The folder of a checkpoint of the official code."""
  folder = tmp_path_factory.mktemp('official')
  with np.load(GOLDEN) as arrays:
    (folder / 'config.json').write_text(str(arrays['config_json']))
    params = {n[6:]: arrays[n] for n in arrays if n.startswith('param.')}
  weights.write_safetensors(folder / 'model.safetensors', params)
  return folder


@pytest.fixture(scope='module')
def workdir(checkpoint, tmp_path_factory):
  """The workdir that the checkpoint becomes."""
  path = tmp_path_factory.mktemp('runs') / 'imported'
  config, params = official.read(checkpoint, base.get_config().to_dict())
  workdirs.write(path, config, params, origin='a test')
  return path


def convert(name, read, written, *arguments):
  flags = '--input', '--workdir'
  if name.startswith('to_'):
    flags = '--workdir', '--out'
  return run(name, f'{flags[0]}={read}', f'{flags[1]}={written}', *arguments)


def run(*arguments):
  return subprocess.run(
      [sys.executable, '-m', 'jrt_jax.convert', *map(str, arguments)],
      cwd=ROOT,
      env=os.environ | {'XLA_FLAGS': '--xla_backend_optimization_level=0'},
      capture_output=True,
      text=True,
  )


def test_a_checkpoint_becomes_a_workdir_that_gives_the_official_logits(
    checkpoint, workdir, tmp_path
):
  path = tmp_path / 'run'
  done = convert(
      'from_official', checkpoint, path, f'--check={GOLDEN}', '--tolerance=1e-5'
  )
  assert done.returncode == 0, done.stderr
  reading, remark, wrote, difference = done.stdout.splitlines()
  assert reading == f'reading {checkpoint}'
  assert remark.startswith(f'{checkpoint} has no tokenizer.json: pass --')
  assert wrote.startswith(f'wrote {path}')
  assert 0 < float(difference.removeprefix('max |Δlogit| = ')) < 1e-5
  assert workdirs.read(path).config == workdirs.read(workdir).config


@pytest.fixture(scope='module')
def export(workdir, tmp_path_factory):
  """The finished command, with a check that must fail, and its folder."""
  folder = tmp_path_factory.mktemp('exported')
  with np.load(GOLDEN) as arrays:
    np.savez(
        folder.parent / 'other',
        input_ids=arrays['input_ids'],
        logits_parallel=arrays['logits_parallel'] + 0.5,
    )
  file = folder.parent / 'other.npz'
  return convert('to_official', workdir, folder, f'--check={file}'), folder


def test_a_workdir_becomes_the_checkpoint_that_it_was(checkpoint, export):
  done, folder = export
  wrote, remark = done.stdout.splitlines()[1:3]
  assert wrote == f'wrote {folder}'
  assert remark.endswith(' has no tokenizer: --tokenizer=FILE adds one')
  before, after = map(weights.read, (checkpoint, folder))
  assert before.keys() == after.keys()
  for name, x in before.items():
    assert after[name].dtype == x.dtype
    np.testing.assert_array_equal(after[name], x)


def test_logits_beyond_the_tolerance_are_exit_code_1(error_line, export):
  done, _ = export
  assert done.returncode == 1
  assert done.stdout.splitlines()[-1] == 'max |Δlogit| = 0.5'
  assert error_line(done.stderr) == (
      'error: max |Δlogit| must be at most --tolerance=0.0001, got 0.5'
  )


def write_tokenizer(path, number_of_ids):
  words = ['<|endoftext|>', *map(str, range(number_of_ids - 1))]
  ids = {word: i for i, word in enumerate(words)}
  tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids))
  tokenizer.add_special_tokens(words[:1])
  tokenizer.save(str(path))


@pytest.mark.slow
def test_the_tokenizer_in_the_folder_is_recorded(checkpoint, tmp_path):
  folder = shutil.copytree(checkpoint, tmp_path / 'official')
  write_tokenizer(folder / 'tokenizer.json', 97)
  run = tmp_path / 'run'
  done = convert('from_official', folder, run)
  assert done.returncode == 0, done.stderr
  assert len(done.stdout.splitlines()) == 2  # no remark
  config = workdirs.read(run).config
  assert config['data']['tokenizer'] == str(folder / 'tokenizer.json')


@pytest.mark.slow
def test_a_tokenizer_with_more_ids_than_the_model_is_refused(
    error_line, checkpoint, tmp_path
):
  file, run = tmp_path / 'tokenizer.json', tmp_path / 'run'
  write_tokenizer(file, 105)
  done = convert('from_official', checkpoint, run, f'--tokenizer={file}')
  assert done.returncode == 2
  assert error_line(done.stderr).startswith(
      "error: config.model.vocab_size must hold the tokenizer's 105 ids, got 10"
  )
  assert not run.exists()


def test_a_mistake_is_one_line(error_line, checkpoint, workdir):
  done = convert('from_official', checkpoint, workdir)
  assert done.returncode == 2
  assert error_line(done.stderr).startswith(
      'error: the workdir must be new, got'
  )


def test_the_tokenizer_goes_with_the_checkpoint(workdir, tmp_path):
  file, folder = tmp_path / 'words.json', tmp_path / 'official'
  write_tokenizer(file, 97)
  done = convert('to_official', workdir, folder, f'--tokenizer={file}')
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[1:] == [f'wrote {folder}']
  assert (folder / 'tokenizer.json').read_text() == file.read_text()
  config, _ = official.read(folder, base.get_config().to_dict())
  assert config['data']['tokenizer'] == str(folder / 'tokenizer.json')


@pytest.mark.slow
def test_a_folder_with_files_is_not_written_to(error_line, checkpoint, workdir):
  done = convert('to_official', workdir, checkpoint)
  assert done.returncode == 2
  assert error_line(done.stderr).startswith(
      'error: --out must be an empty folder'
  )


@pytest.mark.slow
@pytest.mark.parametrize(
    'arguments, message',
    [
        ([], 'from_mamba2, to_official or to_compact must be given'),
        (['from'], 'the conversion must be one of from_official, from_hf, to_'),
        (['from_hf', 'a'], 'the conversion must be one of from_official, from'),
        (['from_official', '--input=a'], '--workdir=DIR must be given'),
        (['to_official', '--workdir=a'], '--out=DIR must be given'),
        (
            ['from_official', '--input=a', '--workdir=b'],
            'DIR must hold config.json and weights, got a',
        ),
        (
            ['to_official', '--workdir=a', '--out=b'],
            "the workdir must be that of a run, got 'a'",
        ),
        (['from_official', '--tolerance=-1'], 'flag --tolerance=-1'),
    ],
)
def test_other_mistakes_are_one_line_too(error_line, arguments, message):
  done = run(*arguments)
  assert done.returncode == 2
  assert error_line(done.stderr).startswith(f'error: {message}')


def test_a_compact_run_gives_the_logits_of_its_workdir(workdir, tmp_path):
  tokenizer = tokenizers.Tokenizer(
      tokenizers.models.BPE({'<|endoftext|>': 0}, [])
  )
  tokenizer.save(str(tmp_path / 'tokenizer.json'))
  refused = convert('to_compact', workdir, tmp_path / 'compact')
  assert refused.returncode == 2
  assert '--tokenizer=FILE must be given' in refused.stderr
  done = convert(
      'to_compact',
      workdir,
      tmp_path / 'compact',
      f'--tokenizer={tmp_path / "tokenizer.json"}',
      f'--check={GOLDEN}',
      '--tolerance=0.1',
  )
  assert done.returncode == 0, done.stderr
  assert 'max |Δlogit|' in done.stdout
  assert {path.name for path in (tmp_path / 'compact').iterdir()} == {
      'config.json',
      'model.safetensors',
      'tokenizer.json',
  }
