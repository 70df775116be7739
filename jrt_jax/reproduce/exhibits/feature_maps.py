"""The report's Table 2: feature maps, by the recall of untrained states."""

from jrt_jax.evaluation.synthetic import capacity
from jrt_jax.reproduce import compute
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import from_probe
from jrt_jax.reproduce import paper

_SEEDS = from_probe.Seeds(capacity.PROBE)
_TRAINED = ('linear', 'relu', 'gelu', 'gaussian_rff', 'mlp')
_PAIRS = ('n = 32', 'n = 64', 'n = 128')
_ROWS = {  # the row of the probe, and its name in the report
    'linear': 'linear',
    'relu': 'ReLU',
    'gelu': 'GELU',
    'gaussian_rff': 'Gaussian',
    'elu_plus_one': None,
    'hedgehog, untrained': None,
    'gaussian_prf': None,
    'polynomial': None,
    'taylor_exp': None,
    'symmetric_power': None,
}


def _show(results):
  ours = _SEEDS.cells(results, _ROWS, _PAIRS, from_probe.percentage)
  widths = _SEEDS.cells(results, _ROWS, ('F',))
  rows = {}
  for row, name in _ROWS.items():
    published = paper.REPORT_FEATURE_MAPS.get(name, (None, None))
    rows[row] = [*published, f'{widths[row][0].estimate:.0f}', *ours[row]]
  rows['MLP, learned'] = [*paper.REPORT_FEATURE_MAPS['MLP'], *[None] * 4]
  yield exhibit.Table(
      ('published recall', 'published ppl', 'F', *_PAIRS),
      rows,
      caption=(
          'The share (%) of n pairs that an untrained state of F features'
          ' recalls, and the recall of the report’s trained models'
      ),
      drawn=('published recall', 'n = 64'),
      unit='%',
      marks={'chance': 100 / capacity.NUM_VALUES},
  )


def _verdict(results):
  if broken := _SEEDS.broken(results):
    return exhibit.Verdict('void', f'{"; ".join(broken)}.')
  found = _SEEDS.cells(results, _ROWS, ('n = 64',), from_probe.percentage)
  at = lambda row: found[row][0]
  linear, relu, gelu, taylor = map(at, ('linear', 'relu', 'gelu', 'taylor_exp'))
  return exhibit.Verdict(
      'open',
      'The report’s own table has ReLU below linear, and so has this one,'
      f' untrained: {relu.estimate:.0f} against {linear.estimate:.0f} % of 64'
      f' pairs, and GELU {gelu.estimate:.0f} %, at 16 features each. Larger'
      f' states recall more: the Taylor map {taylor.estimate:.0f} % with 153.'
      ' Training changes the scale of keys and what learned maps do; no model'
      ' was trained here.',
  )


EXHIBIT = exhibit.Exhibit(
    title='Feature maps: how much their states recall',
    source='Student report, Table 2',
    claim=(
        'Non-linear feature maps, a learned one (MLP) most of all, raise recall'
        ' over a linear one; one run each, without intervals.'
    ),
    plan=_SEEDS.plan,
    measure=_SEEDS.measure,
    show=lambda results: [*_show(results)],
    verdict=_verdict,
    at_paper_scale=lambda: exhibit.AtPaperScale(
        [
            'python -m jrt_jax.train'
            f' --config=configs/ablations/feature_map.py:{name}'
            f' --workdir=runs/feature_map_{name}'
            for name in _TRAINED
        ],
        len(_TRAINED) * compute.jrt_360m_hours(),
        'JRT-RNN 360M with 31.5B tokens for each of five maps, at equal state;'
        ' the report does not say how large its models were, nor what they'
        ' read.',
    ),
)
