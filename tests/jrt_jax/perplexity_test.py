"""The command `python -m jrt_jax.perplexity`, run as a user runs it."""

import json

import numpy as np
import pytest

from jrt_jax.training import workdirs

pytestmark = pytest.mark.slow  # each command imports jax and compiles


@pytest.fixture(scope='module')
def text(tmp_path_factory):
  rng = np.random.default_rng(0)
  path = tmp_path_factory.mktemp('texts') / 'a.txt'
  path.write_text(' '.join(map(str, rng.integers(99, size=600))))
  return path


@pytest.fixture(scope='module')
def run(run_command, bytes_workdir, text):
  def run(*flags):
    defaults = [f'--workdir={bytes_workdir}', f'--input={text}', '--windows=9']
    return run_command(
        'jrt_jax.perplexity', *defaults, f'--counts={text}', *flags
    )

  return run


def test_a_run_is_measured_on_a_file(run, text, tmp_path):
  out = tmp_path / 'new' / 'result.json'
  done = run(f'--out={out}', '--rare=30')
  assert done.returncode == 0, done.stderr
  result = json.loads(out.read_text())
  assert (result['windows'], result['length'], result['rare']) == (9, 32, 30)
  assert result['counted_tokens'] == len(text.read_text()) + 1  # and its end
  assert result['text'] == result['counted'] == str(text)
  by_kind = {x['kind']: x for x in result['slices'] if x['family'] != 'count'}
  hits, others = by_kind['recall hits'], by_kind['other tokens']
  assert by_kind['last half']['tokens'] == 9 * 16
  assert others['tokens'] > 0 and hits['loss']['run']['estimate'] > 0
  title, hits_of, unit, _, _, *lines, last = done.stdout.splitlines()
  assert title.startswith('9 windows of 32 tokens; pairs counted in')
  assert 'nats per token' in unit
  assert max(map(len, [title, hits_of, *lines])) <= 80
  assert hits_of.startswith(
      f'{result["rare_share"]:.1%} of the tokens that end'
  )
  assert result['command'].endswith('--rare=30') and result['date'] > '2020'
  names = [line for line in lines if not line.startswith(' ')]
  assert len(names) == len(result['slices'])
  assert last == f'wrote {out}'


def test_runs_are_compared(run, bytes_workdir, tmp_path):
  found = workdirs.read(bytes_workdir)
  config = found.config | {'prefix': {'name': 'none', 'capacity': 0.0}}
  workdirs.write(tmp_path / 'b', config, found.params, origin='a test')
  out = tmp_path / 'result.json'
  done = run(f'--workdir={bytes_workdir},{tmp_path}/b', f'--out={out}')
  assert done.returncode == 0, done.stderr
  result = json.loads(out.read_text())
  rows = result['slices']
  assert [*result['runs']] == ['run', 'b'] and result['rare'] == 1
  assert [*tmp_path.glob('result*')] == [out]
  assert all(x['loss'].keys() <= {'run', 'b'} for x in rows)
  whole, without = rows[:2]
  # The same weights, read without prefix.
  b, a = whole['loss']['b'], without['loss']['run']
  assert b['estimate'] == pytest.approx(a['estimate'])
  (difference,) = whole['differences']
  assert difference['estimate'] == pytest.approx(
      whole['loss']['run']['estimate'] - b['estimate']
  )


@pytest.mark.parametrize(
    ('flag', 'message'),
    [
        ('--input=no.txt', "--input must name files, got 'no.txt'"),
        ('--counts=no.txt', "--counts must name files, got 'no.txt'"),
        (
            '--length=9999',
            'the text must have at least two windows of 10000 to',
        ),
        ('--out=.', "--out must be a file that can be written, got '.'"),
    ],
)
def test_a_mistake_is_one_line(error_line, run, tmp_path, flag, message):
  done = run(f'--out={tmp_path}/a', flag)
  assert done.returncode == 2
  assert error_line(done.stderr).startswith(f'error: {message}')
  assert not (tmp_path / 'a').exists()
