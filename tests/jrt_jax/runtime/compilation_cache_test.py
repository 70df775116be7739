"""What one command has compiled, the next one does not compile again."""

import collections
import os
import pathlib
import subprocess
import sys
import warnings

import jax
from jax.experimental.compilation_cache import compilation_cache as of_jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.runtime import compilation_cache

SETTINGS = (
    'jax_enable_compilation_cache',
    'jax_compilation_cache_dir',
    'jax_compilation_cache_max_size',
    'jax_persistent_cache_min_compile_time_secs',
    'jax_persistent_cache_enable_xla_caches',
)
# Runs a command, and says at its end how many programs it compiled and found.
COUNTED = """
import atexit, collections, runpy, sys
import jax
count = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: count.update([event]))
atexit.register(lambda: print(*(
    count[f'/jax/compilation_cache/cache_{kind}'] for kind in ('misses', 'hits')
), file=sys.stderr))
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """Where programs are kept if nobody says where; nothing is turned on yet."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  before = {name: getattr(jax.config, name) for name in SETTINGS}
  jax.config.update('jax_enable_compilation_cache', True)
  jax.config.update('jax_compilation_cache_dir', None)
  of_jax.reset_cache()
  with warnings.catch_warnings(record=True) as told:
    yield tmp_path / 'jrt_jax' / 'compiled'
  for name, value in before.items():
    jax.config.update(name, value)
  of_jax.reset_cache()
  assert not told


@pytest.fixture
def count():
  """How often programs were found, or not."""
  events = collections.Counter()

  def listen(event, **_):
    events[event.rpartition('/cache_')[2]] += 1

  jax.monitoring.register_event_listener(listen)
  yield events
  jax.monitoring.unregister_event_listener(listen)


def compute():
  """Forgets what this process has compiled, and computes something."""
  jax.clear_caches()
  x = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
  loss = lambda w: (jnp.tanh(x @ w) ** 2).sum()
  return jax.device_get(jax.jit(jax.value_and_grad(loss))(x))


def test_the_second_command_compiles_nothing(bytes_workdir, tmp_path):
  def programs(*arguments):
    done = subprocess.run(
        [sys.executable, '-c', COUNTED, 'jrt_jax.generate']
        + [f'--workdir={bytes_workdir}', '--prompt=a', '--max_tokens=3']
        + [*arguments],
        env=os.environ
        | {
            'JAX_ENABLE_COMPILATION_CACHE': 'true',
            'JAX_COMPILATION_CACHE_DIR': '',
            'XDG_CACHE_HOME': str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'rror' not in done.stderr
    return done.stdout, *map(int, done.stderr.splitlines()[-1].split())

  without, *none = programs('--nocompilation_cache')
  assert none == [0, 0] and not [*tmp_path.iterdir()]
  first, compiled, found = programs()
  assert compiled and not found
  second, *again = programs()
  assert again == [0, compiled]
  assert without == first == second


def test_what_is_found_computes_the_same_bits(folder, count):
  compilation_cache.turn_on()
  first = compute()
  assert count['misses'] and not count['hits']
  second = compute()
  assert count['hits'] == count['misses']
  jax.tree.map(np.testing.assert_array_equal, first, second)
  assert [*folder.iterdir()]


def test_what_cannot_be_read_or_written_is_compiled(folder):
  compilation_cache.turn_on()
  expected = compute()
  for file in folder.iterdir():
    os.truncate(file, file.stat().st_size // 2)
  jax.tree.map(np.testing.assert_array_equal, compute(), expected)
  for file in folder.iterdir():
    file.unlink()
  folder.rmdir()
  folder.touch()
  jax.tree.map(np.testing.assert_array_equal, compute(), expected)


@pytest.mark.parametrize(
    ('setting', 'value'),
    [
        ('jax_compilation_cache_dir', '/a/folder/of/the/user'),
        ('jax_enable_compilation_cache', False),
    ],
)
def test_the_user_decides(folder, setting, value):
  jax.config.update(setting, value)
  before = {name: getattr(jax.config, name) for name in SETTINGS}
  compilation_cache.turn_on()
  assert {name: getattr(jax.config, name) for name in SETTINGS} == before
  assert not folder.exists()


@pytest.mark.parametrize('caches', ['relative', '/dev/null'])
def test_where_no_folder_can_be_made_nothing_is_kept(
    folder, caches, monkeypatch, tmp_path
):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('XDG_CACHE_HOME', caches)
  compilation_cache.turn_on()
  assert jax.config.jax_compilation_cache_dir is None
  assert not [*tmp_path.iterdir()]


def test_what_was_not_used_for_longest_is_removed(folder, monkeypatch):
  monkeypatch.setattr(compilation_cache, '_MAX_BYTES', 299)
  folder.mkdir(parents=True)
  for age, name in enumerate(['newest', 'second', 'third', 'oldest']):
    (folder / name).write_bytes(bytes(100))
    os.utime(folder / name, (10**9 - age, 10**8))
  compilation_cache.turn_on()
  assert {file.name for file in folder.iterdir()} == {'newest', 'second'}


def test_what_another_command_removes_meanwhile_is_no_trouble(
    folder, monkeypatch
):
  folder.mkdir(parents=True)
  for name in ('removed', 'kept'):
    (folder / name).write_bytes(bytes(100))
  look = pathlib.Path.stat

  def look_then_remove(path, **options):
    seen = look(path, **options)
    if path.name == 'removed':
      path.unlink()
    return seen

  monkeypatch.setattr(pathlib.Path, 'stat', look_then_remove)
  compilation_cache.turn_on()
  assert jax.config.jax_compilation_cache_dir == str(folder)
  assert [file.name for file in folder.iterdir()] == ['kept']
