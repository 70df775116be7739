import pytest

from jrt_jax.reproduce import arms
from jrt_jax.reproduce import charts
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import gains

ARMS = arms.Arms(
    {'new': 'the new one', 'old': 'the old one', 'attention': 'control'},
    {
        scale: [
            arms.sweep(
                'mqar',
                {'data.synthetic.sizes': ((32, 4),)},
                {
                    x: {'model.mixers': (x,)}
                    for x in ('new', 'old', 'attention')
                },
                rates=(1e-3, 1e-2),
                num_seeds=3,
            )
        ]
        for scale in exhibit.SCALES
    },
)
EXHIBIT = gains.make(
    ARMS,
    {
        'at all': gains.Pair('new', 'old'),
        'by 20 points': gains.Pair('new', 'old', least=20),
    },
    caption='Accuracy',
    title='New and old',
    source='Us',
    claim='New is better.',
    at_paper_scale=lambda: None,
)


def results(trained, **shares):
  return trained(
      EXHIBIT,
      lambda settings: shares[settings['overrides']['model.mixers'][0]],
  )


@pytest.mark.parametrize(
    'new, control, word',
    [
        (0.8, 1.0, 'holds'),
        (0.7, 1.0, 'partly'),  # exactly the least gain
        (0.6, 1.0, 'fails'),  # a gain, but less than was claimed
        (0.8, 0.9, 'void'),
    ],
)
def test_gains_must_be_above_the_least_that_was_claimed(
    trained, new, control, word
):
  found = results(trained, new=new, old=0.5, attention=control)
  verdict = EXHIBIT.verdict(found)
  assert verdict.word == word
  assert f'at all: {100 * (new - 0.5):.1f}' in verdict.sentence
  assert 'over 3 fresh seeds' in verdict.sentence


def test_an_interval_that_includes_the_least_decides_nothing(trained):
  found = results(trained, new=0.7, old=0.5, attention=1.0)
  for i, (name, done) in enumerate(sorted(found.items())):
    if 'run-new' in name:
      done.figures['answer_accuracy'] += 0.3 * (i % 2) - 0.15
  assert EXHIBIT.verdict(found).word == 'open'


def test_gains_stand_beside_what_the_claim_needs(trained):
  found = results(trained, new=0.8, old=0.5, attention=1.0)
  table, *rest = EXHIBIT.show(found)
  gain, least = table.rows['by 20 points']
  assert gain.estimate == pytest.approx(30) and least == 20
  for piece in (table, *rest):
    charts.check(piece)
