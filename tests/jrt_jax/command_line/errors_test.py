import subprocess
import sys

import jax
import pytest

from jrt_jax import command_line


def fail(context, error):
  with context:
    raise error


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (ValueError('B must be 2, got 3'), 'error: B must be 2, got 3'),
        (OSError(28, 'No space left'), 'error: [Errno 28] No space left'),
        (ValueError('two\nlines'), 'error: two\nlines'),
        (ValueError(), 'error: ValueError()'),
    ],
)
def test_an_error_of_the_arguments_is_a_mistake(exit_of, error, message):
  end = exit_of(fail, command_line.one_line_errors(), error)
  assert end == (command_line.MISTAKE, message)


@pytest.mark.parametrize(
    'error',
    [
        jax.errors.JaxRuntimeError(
            'RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9'
            ' bytes.\n\nLargest program allocations:\n' + 9999 * '...'
        ),
        jax.errors.JaxRuntimeError('INTERNAL: Out of memory: allocate 9 bytes'),
        jax.errors.JaxRuntimeError(
            'INTERNAL: failed to allocate 9 bytes: CUDA_ERROR_OUT_OF_MEMORY'
        ),
        RuntimeError('std::bad_alloc, allocate 9 bytes'),
        MemoryError('Unable to allocate 9 bytes for an array'),
        OSError(12, 'Cannot allocate memory', 'allocate 9 bytes'),
    ],
)
def test_memory_that_does_not_suffice_ends_in_advice(exit_of, error):
  code, line = exit_of(fail, command_line.one_line_failures(), error)
  assert code == command_line.FAILURE
  assert line.startswith('error: out of memory: lower config.microbatch_per')
  assert 'allocate 9 bytes' in line and '\n' not in line and len(line) < 400


def test_an_expected_failure_is_one_line(exit_of):
  context = command_line.one_line_failures(KeyError, EOFError)
  end = exit_of(fail, context, EOFError('no more'))
  assert end == (command_line.FAILURE, 'error: no more')


@pytest.mark.parametrize(
    'error', [jax.errors.JaxRuntimeError('INTERNAL: bug'), ValueError('bug')]
)
def test_another_failure_keeps_its_traceback(error):
  with pytest.raises(type(error), match='bug'):
    fail(command_line.one_line_failures(KeyError), error)


def test_an_error_of_the_arguments_can_also_be_too_little_memory(exit_of):
  context = command_line.one_line_errors(out_of_memory='buy some')
  end = exit_of(fail, context, MemoryError('none'))
  assert end == (command_line.FAILURE, 'error: out of memory: buy some (none)')
  context = command_line.one_line_errors(out_of_memory='buy some')
  end = exit_of(fail, context, NotImplementedError('not yet'))
  assert end == (command_line.MISTAKE, 'error: not yet')


@pytest.mark.parametrize(
    ('error', 'code', 'lines'),
    [
        ('KeyboardInterrupt', command_line.INTERRUPTED, ['', 'interrupted']),
        ('EOFError("no more")', 1, ['EOFError: no more']),
    ],
)
def test_ctrl_c_is_one_line_and_another_error_is_not(error, code, lines):
  program = f'from jrt_jax import command_line; raise {error}'
  done = subprocess.run(
      [sys.executable, '-c', program], capture_output=True, text=True
  )
  assert done.returncode == code
  assert done.stderr.splitlines()[-len(lines) :] == lines
  assert ('Traceback' in done.stderr) == (code == 1)


def test_a_reader_who_has_enough_is_no_mistake():
  program = """
from jrt_jax import command_line
with command_line.one_line_errors():
  while True:
    print('more', flush=True)
"""
  with subprocess.Popen(
      [sys.executable, '-c', program],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
  ) as process:
    assert process.stdout.readline() == 'more\n'
    process.stdout.close()
    assert process.wait() == 141 and not process.stderr.read()
