import os
import pathlib
import subprocess
import sys

import pytest

from configs import base
from jrt_jax import builtin_models
from jrt_jax import local_paths
from jrt_jax.data import splits
from jrt_jax.data import tokenizers


@pytest.mark.parametrize('url', ['gs://a/b', 's3://a', 'memory://a/b'])
def test_urls_are_refused_also_when_they_were_paths(url):
  for path in (url, pathlib.Path(url)):
    with pytest.raises(
        ValueError, match='--out must be a path of this machine'
    ):
      local_paths.check('--out', path)


@pytest.mark.parametrize('path', ['', 'runs/a:b', '/a://b', 'C:/runs', 'a:b/c'])
def test_paths_of_this_machine_may_have_colons(path):
  local_paths.check('--out', path)


def test_a_workdir_in_a_bucket_is_refused_where_it_is_read():
  with pytest.raises(ValueError, match="the workdir must .* got 'gs:/a/run'"):
    builtin_models.find(pathlib.Path('gs://a/run'))


@pytest.mark.parametrize('source', ['shards', 'megatron'])
def test_tokens_that_are_mapped_are_not_in_a_bucket(source):
  data = base.get_config().data.to_dict()
  data |= {'source': source, 'path': 'gs://a/pile'}
  with pytest.raises(ValueError, match='config.data.path must be a path of th'):
    splits.token_streams(data, tokenizers.Bytes())


@pytest.mark.parametrize(
    'command',
    [
        ['train', '--config=configs/jrt_tiny.py', '--workdir=gs://a/run'],
        ['data.prepare', '--input=*.toml', '--format=text', '--out=gs://a/b'],
    ],
)
def test_no_folder_with_the_name_of_a_protocol_is_made(
    command, error_line, tmp_path
):
  root = pathlib.Path(__file__).parents[2]
  for name in ('configs', 'pyproject.toml'):
    (tmp_path / name).symlink_to(root / name)
  end = subprocess.run(
      [sys.executable, '-m', f'jrt_jax.{command[0]}', *command[1:]],
      cwd=tmp_path,
      env=os.environ | {'PYTHONPATH': str(root)},
      capture_output=True,
      text=True,
  )
  assert end.returncode == 2
  assert 'must be a path of this machine' in error_line(end.stderr)
  assert not (tmp_path / 'gs:').exists()
