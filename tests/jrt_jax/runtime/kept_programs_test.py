"""What all processes have compiled before, none of them compiles again."""

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

from jrt_jax.runtime import distributed
from jrt_jax.runtime import kept_programs


@pytest.fixture
def compile_and_run(tmp_path):
  """A function that runs a program; returns its result and if it was read."""

  def run(function=jnp.tanh, folder=tmp_path):
    kept = kept_programs.KeptPrograms(folder)
    everywhere = NamedSharding(jax.make_mesh((jax.device_count(),), 'x'), P())
    x = jax.device_put(np.arange(4, dtype=np.float32), everywhere)
    program = kept.compile(jax.jit(function).lower(x))
    return np.asarray(program(x)), kept.has_read

  return run


def test_a_program_is_compiled_once(compile_and_run):
  first, *was_read = compile_and_run()
  assert was_read == [False]
  second, *was_read = compile_and_run()
  assert was_read == [True]
  np.testing.assert_array_equal(first, second)


def test_another_program_is_compiled(compile_and_run):
  compile_and_run()
  result, was_read = compile_and_run(jnp.exp)
  assert not was_read
  np.testing.assert_allclose(result, np.exp(np.arange(4)), rtol=1e-5)


def test_all_compile_if_one_process_has_nothing(compile_and_run, monkeypatch):
  compile_and_run()
  monkeypatch.setattr(
      distributed, 'everyones', lambda name, value: [value, False]
  )
  assert not compile_and_run()[1]


@pytest.mark.parametrize('content', [b'', b'\x80\x04.', None])
def test_what_cannot_be_read_is_compiled_and_kept_anew(
    compile_and_run, tmp_path, content
):
  expected, _ = compile_and_run()
  (file,) = tmp_path.iterdir()
  whole = file.read_bytes()
  file.write_bytes(whole[: len(whole) // 2] if content is None else content)
  result, was_read = compile_and_run()
  assert not was_read
  np.testing.assert_array_equal(result, expected)
  assert compile_and_run()[1]


def test_where_nothing_can_be_kept_programs_are_compiled(
    compile_and_run, tmp_path
):
  for folder in (None, tmp_path / 'missing'):
    assert not compile_and_run(folder=folder)[1]
    assert not compile_and_run(folder=folder)[1]


def test_a_program_of_other_flags_is_another(compile_and_run, monkeypatch):
  compile_and_run()
  monkeypatch.setenv('XLA_FLAGS', '--xla_cpu_enable_fast_math=true')
  assert not compile_and_run()[1]
