import json
import pathlib

import numpy as np
import pytest

from jrt_jax.reporting import curves

CONFIG = {
    'batch_size': 2,
    'sequence_length': 50,
    'model': {'feature_map': {'name': 'taylor_exp', 'feature_dim': 16}},
    'prefix': {'name': 'fixed'},
    'optimizer': {'peak_lr': 8e-4},
}
LINES = [
    {'step': 10, 'loss': 3.0, 'step_seconds': 0.5},
    {'step': 15, 'held_out/bits_per_byte': 2.0},
    {'step': 20, 'loss': 2.0, 'step_seconds': 0.1},
    {'step': 20, 'held_out/bits_per_byte': 1.5},
    {'step': 23, 'loss': None, 'step_seconds': 1.0},
]


@pytest.fixture
def write_run(tmp_path):
  """A function that writes a workdir and returns its path."""

  def write(name, lines=LINES, **changes):
    workdir = tmp_path / name
    workdir.mkdir(parents=True)
    (workdir / 'config.json').write_text(json.dumps(CONFIG | changes))
    text = ''.join(json.dumps(line) + '\n' for line in lines)
    (workdir / 'metrics.jsonl').write_text(text)
    return str(workdir)

  return write


def assert_curve(curve, tokens, seconds, values):
  np.testing.assert_allclose(curve, (tokens, seconds, values))


def test_a_point_lies_at_the_tokens_and_the_seconds_of_its_step(write_run):
  (run,) = curves.read([write_run('a')])
  assert run.step == 23
  assert_curve(run.curves['loss'], [1000, 2000], [5, 6], [3, 2])
  held_out = run.curves['held_out/bits_per_byte']
  assert_curve(held_out, [1500, 2000], [5.5, 6], [2, 1.5])
  assert_curve(
      run.curves['step'],
      *np.array(
          [
              [1000, 1500, 2000, 2000, 2300],
              [5, 5.5, 6, 6, 9],
              [10, 15, 20, 20, 23],
          ]
      ),
  )


def test_tokens_that_were_counted_come_before_those_of_the_config(write_run):
  lines = [{**line, 'tokens': 7 * line['step']} for line in LINES]
  (run,) = curves.read([write_run('a', lines)])
  np.testing.assert_allclose(run.curves['loss'].tokens, [70, 140])


def test_what_is_being_written_is_left_out(write_run):
  workdir = write_run('a')
  with open(f'{workdir}/metrics.jsonl', 'a') as file:
    file.write('{"step": 30, "lo')
  assert curves.read([workdir])[0].step == 23


def test_a_point_is_the_mean_of_the_newest_share(write_run):
  lines = [
      {'step': s, 'loss': s, 'held_out/x': s, 'step_seconds': 1.0}
      for s in range(1, 101)
  ]
  (run,) = curves.read([write_run('a', lines)])
  smooth = run.smoothed(0.5)
  means = [np.mean(range(-(-s // 2), s + 1)) for s in range(1, 101)]
  np.testing.assert_allclose(smooth.curves['loss'].values, means)
  for name, other in (('held_out/x', smooth), ('loss', run.smoothed(0))):
    np.testing.assert_allclose(
        other.curves[name].values, run.curves[name].values
    )


def labels(*workdirs):
  return [run.label for run in curves.read(workdirs)]


def test_a_label_has_the_settings_that_differ(write_run):
  a = write_run('a')
  b = write_run('b', prefix={'name': 'uniform'})
  c = write_run('c', model={'feature_map': {'name': 'x', 'feature_dim': 8}})
  d = write_run('d', optimizer={'peak_lr': 1e-3})
  assert labels(a) == ['a']
  assert labels(a, b) == ['a (prefix=fixed)', 'b (prefix=uniform)']
  assert labels(a, c) == [
      'a (feature_map=taylor_exp, feature_dim=16)',
      'c (feature_map=x, feature_dim=8)',
  ]
  assert labels(a, b, c, d)[3] == (
      'd (feature_map=taylor_exp, feature_dim=16, prefix=fixed, …)'
  )


def test_settings_that_are_long_or_that_a_run_has_not_are_no_label(write_run):
  a = write_run('a', mixers=['conv', 'pla'] * 9, verify=True)
  b = write_run('b', mixers=['conv', 'swa'] * 9)
  assert labels(a, b) == ['a', 'b']


def test_runs_of_one_name_are_told_apart_by_their_folders(write_run):
  a, b = write_run('one/x/run'), write_run('two/x/run')
  assert labels(a, b) == ['one/x/run', 'two/x/run']


def test_the_table_has_a_line_for_each_run(write_run):
  more = {'next_token_loss': 1.25, 'tokens_per_second': 4321.0}
  recall = {'step': 23, 'held_out/recall_accuracy': 0.475}
  a = write_run('a', [*LINES, {**LINES[0], 'step': 23, **more}, recall])
  text = curves.table(curves.read([a, write_run('b')]))
  header, *rows = (line.split() for line in text.splitlines())
  assert rows == [
      ['a', '23', '2.3k', '1.250', '1.500', '47.5%', '4,321'],
      ['b', '23', '2.3k', '–', '1.500', '–', '–'],
  ]
  assert len(header) == len(rows[0])
  assert len({len(line) for line in text.splitlines()}) == 1


@pytest.mark.parametrize(
    ('file', 'text', 'message'),
    [
        ('config.json', None, '/a is not a run: there is no '),
        (
            'config.json',
            '{"a": ',
            'config.json must be JSON: ',
        ),
        ('config.json', '[1]', 'config.json: must be an object'),
        ('config.json', '{}', 'config.json: batch_size must be given'),
        ('config.json', '{"batch_size": 1}', 'sequence_length must be g'),
        ('metrics.jsonl', None, '/a has no metrics of training yet, in '),
        ('metrics.jsonl', '', '/a has no metrics of training yet, in '),
        ('metrics.jsonl', '{"step": 1, "held_out/x": 2}\n', 'no metrics of'),
        ('metrics.jsonl', '{"step": 1}\n{"st\n', ':2 must be JSON'),
        ('metrics.jsonl', '3\n', ':1: must be an object with keys, got 3'),
        ('metrics.jsonl', '\0\0\n', ':1 must be JSON'),
        ('metrics.jsonl', '[' * 10**5 + '\n', ':1 must be JSON'),
        ('metrics.jsonl', '{"step": -1}\n', ':1: step must be a whole number'),
        (
            'metrics.jsonl',
            '{"step": 1, "loss": "x"}\n',
            ":1: 'loss' must be None or a number",
        ),
        (
            'metrics.jsonl',
            '{"step": 1, "loss": NaN}\n',
            ":1: 'loss' must be None or a number",
        ),
        (
            'metrics.jsonl',
            '{"step": 1, "step_seconds": 1, "tokens": null}\n',
            ':1: tokens must be a whole number',
        ),
    ],
)
def test_what_is_no_run_is_one_line(write_run, file, text, message):
  workdir = write_run('a')
  path = pathlib.Path(workdir, file)
  if text is None:
    path.unlink()
  else:
    path.write_text(text)
  with pytest.raises(ValueError) as error:
    curves.read([workdir])
  assert message in str(error.value) and '\n' not in str(error.value)


def test_what_is_no_run_is_told_and_left_out(write_run, tmp_path):
  workdirs = [write_run('a'), str(tmp_path), write_run('b')]
  told = []
  runs = curves.read(workdirs, skip=told.append)
  assert [run.label for run in runs] == ['a', 'b']
  assert [str(e) for e in told] == [
      f'{tmp_path} is not a run: there is no {tmp_path}/config.json'
  ]
  with pytest.raises(ValueError, match='is not a run'):
    curves.read(workdirs[1:2], skip=told.append)


def test_losses_of_other_tokens_are_in_bits_per_byte(write_run):
  trained = {'step': 10, 'next_token_loss': 3.0, 'step_seconds': 0.5}
  evaluated = {  # of tokens of 4 bytes
      'step': 10,
      'held_out/next_token_loss': 4 * np.log(2),
      'held_out/bits_per_byte': 1.0,
  }
  a = write_run('a', [trained, evaluated], data={'tokenizer': 'a.json'})
  b = write_run('b', [trained], data={'tokenizer': 'bytes'})
  for run in curves.read([a]), curves.read([b]):
    assert run[0].last('next_token_loss') == 3.0
  first, second = curves.read([a, b])
  assert first.last('bits_per_byte') == pytest.approx(3 / 4 / np.log(2))
  # Nobody knows how many bytes the tokens of the second one have.
  assert first.last('next_token_loss') is None
  assert not second.curves.keys() & {'next_token_loss', 'bits_per_byte'}


def test_a_run_that_is_given_twice_is_refused(write_run, tmp_path):
  a = write_run('a')
  with pytest.raises(ValueError, match='/a is given twice'):
    curves.read([a, f'{tmp_path}/./a'])


def test_the_table_of_runs_with_long_names_fits_a_terminal(write_run):
  longest = 'ablation_of_feature_maps_and_of_prefixes_with_seed_1234'
  runs = [write_run('jrt_360m'), write_run(longest, prefix={'name': 'uniform'})]
  text = curves.table(curves.read(runs))
  assert max(map(len, text.splitlines())) <= 80
  assert 'prefix=uniform' in text
