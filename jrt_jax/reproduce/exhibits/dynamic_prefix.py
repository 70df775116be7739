"""The report's Table 1: prefixes whose length depends on the text."""

from jrt_jax.evaluation import statistics
from jrt_jax.evaluation.synthetic import learned_prefix
from jrt_jax.reproduce import compute
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import from_probe
from jrt_jax.reproduce import paper

_SEEDS = from_probe.Seeds(learned_prefix.PROBE)
_ROWS = {
    'best fixed': 'best fixed length',
    'full feedback': 'learned from all lengths',
    'reinforce': 'learned from its own choices',
    'signals shuffled': 'control: signals of other prompts',
    'lengths shuffled': 'control: its lengths, dealt at random',
    'oracle': 'oracle',
}


def _show(results):
  columns = ('reward', 'regret', 'fraction')
  found = _SEEDS.cells(results, _ROWS, columns)
  yield exhibit.Table(
      ('reward', 'below the oracle', 'prefix / prompt'),
      {_ROWS[row]: cells for row, cells in found.items()},
      caption=(
          'Simulated prompts that show their best prefix length: the share of'
          ' right answers minus the cost of the prefix'
      ),
      drawn=('reward',),
      unit='reward of held-out prompts',
      digits=3,
  )
  yield exhibit.Table(
      ('published fixed', 'published dynamic', 'ours'),
      {
          name: (*values, None)
          for name, values in paper.REPORT_DYNAMIC_PREFIX.items()
      },
      caption='The report’s language model',
  )


def _verdict(results):
  if broken := _SEEDS.broken(results):
    return exhibit.Verdict('void', f'{"; ".join(broken)}.')
  values = _SEEDS.values(results)
  reward = lambda row: values[row, 'reward']
  gain, control = (
      statistics.paired_difference(reward(row), reward('best fixed'))
      for row in ('full feedback', 'signals shuffled')
  )
  return exhibit.Verdict(
      'open',
      f'In a simulation, learned lengths gain {exhibit.text(gain, 3)} of reward'
      f' over the best fixed length, and {exhibit.text(control, 3)} with the'
      ' signals of other prompts. The simulation is designed so that a gain is'
      ' possible; no language model was measured.',
  )


EXHIBIT = exhibit.Exhibit(
    title='Dynamic prefixes: a length for each prompt',
    source='Student report, Table 1 and future work',
    claim=(
        'A prefix that grows and shrinks with the complexity of the text raises'
        ' recall from 46.1 to 48.2 % for 5 % more time; one run, no intervals.'
    ),
    plan=_SEEDS.plan,
    measure=_SEEDS.measure,
    show=lambda results: [*_show(results)],
    verdict=_verdict,
    at_paper_scale=lambda: exhibit.AtPaperScale(
        [
            'python -m jrt_jax.train --config=configs/jrt_360m.py'
            ' --config.prefix.name=uniform --workdir=runs/uniform',
            'python -m jrt_jax.prefix_trials --workdir=runs/uniform'
            ' --out=trials.npz',
            'python -m jrt_jax.prefix.learn --trials=trials.npz --cost=0.01'
            ' --out=policy.json',
        ],
        compute.jrt_360m_hours(),
        'JRT-RNN 360M with 31.5B tokens, once; the report does not say how its'
        ' models were trained.',
    ),
)
