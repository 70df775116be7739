import json

import pytest

from configs import study

from jrt_jax.reproduce import charts
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce.exhibits import perplexity_slices

EXHIBIT = perplexity_slices.EXHIBIT
LAYERS = {'jrt-1': ['conv', 'pla'], 'based-1': ['conv', 'la']}


def estimate(x):
  return {'estimate': x, 'low': x - 0.1, 'high': x + 0.1, 'n': 9, 'method': ''}


def row(family, kind, jrt, based, low=None, high=None):
  return {
      'family': family,
      'kind': kind,
      'low': low,
      'high': high,
      'unit': '',
      'tokens': 1000,
      'loss': {'jrt-1': estimate(jrt), 'based-1': estimate(based)},
      'differences': [
          {'first': 'based-1', 'second': 'jrt-1', **estimate(based - jrt)}
      ],
  }


def results(tmp_path, jrt, based):
  (tmp_path / 'perplexity.json').write_text(
      json.dumps(
          {
              'runs': {
                  name: {'mixers': x, 'seed': 1} for name, x in LAYERS.items()
              },
              'slices': [
                  row('part', 'last half', 2.0, 2.0),
                  row('recall', 'recall hits', jrt, based),
                  row('count', 'repeated from 256 on', jrt, based, 1, 9),
                  row('distance', 'recall hits', jrt, based, 4, 7),
              ],
          }
      )
  )
  for seed, steps in ((1, 366), (2, 1464)):
    run(tmp_path / f'run{seed}', seed, steps)
  jobs = EXHIBIT.plan(exhibit.Request('cpu', results=tmp_path), {})
  return {
      job.name: exhibit.Done(job.settings, EXHIBIT.measure(job.settings, None))
      for job in jobs
  }


def run(folder, seed, steps):
  """A run of training, as far as it is read."""

  folder.mkdir()
  config = study.get_config('jrt@0.003').to_dict()
  config |= {'seed': seed, 'steps': steps}
  (folder / 'config.json').write_text(json.dumps(config))
  lines = []
  for step in (1, steps):
    lines.append({'step': step, 'step_seconds': 1.0, 'loss': 3.0})
    lines.append({'step': step, 'held_out/bits_per_byte': float(2 - seed)})
  text = '\n'.join(map(json.dumps, lines))
  (folder / 'metrics.jsonl').write_text(text + '\n')


@pytest.mark.parametrize(
    'jrt, based, word',
    [(3.0, 3.5, 'holds'), (3.5, 3.0, 'fails'), (3.0, 3.05, 'open')],
)
def test_the_loss_on_recall_hits_decides(tmp_path, jrt, based, word):
  found = results(tmp_path, jrt, based)
  verdict = EXHIBIT.verdict(found)
  assert verdict.word == word and 'jrt-1 − based-1' in verdict.sentence
  for piece in EXHIBIT.show(found):
    charts.check(piece)


def test_trials_tell_their_learning_rates_and_whole_runs_their_curves(tmp_path):
  *_, curves, trials = EXHIBIT.show(results(tmp_path, 3.0, 3.5))
  assert [*curves.series] == ['JRT-RNN, seed 2']
  assert trials.columns == ['0.003']
  assert trials.rows == {'JRT-RNN, 366 steps, seed 1': [1.0]}
  assert 'runs of 1,464 steps' in curves.caption
  assert trials.caption.endswith('each run of fewer than 1,464 steps')


def test_two_files_of_losses_are_one_too_many(tmp_path):
  for name in 'ab':
    (tmp_path / name).mkdir()
    (tmp_path / name / 'perplexity.json').write_text('{}')
  with pytest.raises(ValueError, match='must have one perplexity.json'):
    EXHIBIT.plan(exhibit.Request('cpu', results=tmp_path), {})
