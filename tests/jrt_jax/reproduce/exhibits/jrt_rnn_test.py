import pytest

from jrt_jax.reproduce import charts
from jrt_jax.reproduce.exhibits import jrt_rnn

EXHIBIT = jrt_rnn.EXHIBIT


def once(share):
  return {'default': share}


def test_seeds_of_a_model_are_one_row_and_pairs_decide(answers):
  results = answers(
      ('jrt-1', once(0.5), {}),
      ('jrt-2', once(0.6), {}),
      ('based-1', once(0.3), {}),
      ('based-2', once(0.3), {}),
      ('attention-1', once(0.9), {}),
  )
  first, everyone, published = EXHIBIT.show(results)
  (row,) = first.rows
  assert row == 'fda, 240 tokens'
  based, jrt, gain = first.rows[row]
  assert (based.estimate, jrt.estimate) == pytest.approx((30, 55))
  assert gain.estimate == pytest.approx(25) and gain.low > 0
  assert everyone.columns == ['JRT-RNN', 'Based', 'attention']
  assert published.rows['JRT-RNN'][0] == '82.0 / 43.3 / 32.9'
  word, sentence = EXHIBIT.verdict(results)
  assert word == 'holds' and 'in points: fda, 240 tokens: 25.0 [' in sentence
  for piece in EXHIBIT.show(results):
    charts.check(piece)


@pytest.mark.parametrize(
    'jrt, based, word',
    [(0.2, 0.4, 'fails'), (0.3, 0.3, 'open'), (0.04, 0.02, 'void')],
)
def test_losing_is_told_and_the_floor_shows_nothing(answers, jrt, based, word):
  results = answers(('jrt-1', once(jrt), {}), ('based-1', once(based), {}))
  assert EXHIBIT.verdict(results).word == word


def test_other_prompts_are_compared_with_reading_once(answers):
  shares = {'default': 0.3, 'twice': 0.5}
  results = answers(('jrt-1', shares, {}), ('based-1', once(0.3), {}))
  _, _, twice, _ = EXHIBIT.show(results)
  assert 'twice' in twice.caption and twice.columns == ['JRT-RNN']
  assert twice.rows['fda, 240 tokens'][0].estimate == pytest.approx(20)


def test_other_ways_to_read_a_prompt_are_not_mixed_in(answers):
  results = answers(
      ('jrt-1', once(0.5), {}),
      ('jrt-1', once(0.1), {'long_prompt': 'tail'}),
      ('jrt-1', once(0.1), {'short_prompt': 'iterate'}),
      ('based-1', once(0.3), {}),
  )
  first, *_ = EXHIBIT.show(results)
  assert first.rows['fda, 240 tokens'][1].estimate == pytest.approx(50)


def test_models_that_were_asked_other_questions_are_not_compared(answers):
  results = answers(
      ('jrt-1', once(0.5), {}),
      ('based-1', once(0.3), {'digest': 'others'}),
  )
  with pytest.raises(
      ValueError, match='must have been asked the same examples'
  ):
    EXHIBIT.verdict(results)


def test_where_nobody_answers_the_likelihood_of_gold_answers_decides(answers):
  results = answers(
      ('jrt-1', once(0.01), {}),
      ('based-1', once(0.0), {}),
      ('jrt-1', once(-2.0), {'likelihood': True}),
      ('based-1', once(-2.5), {'likelihood': True}),
  )
  word, sentence = EXHIBIT.verdict(results)
  assert word == 'holds' and 'in nats per token: fda, 240' in sentence
  _, likely, *_ = EXHIBIT.show(results)
  _, jrt, gain = likely.rows['fda, 240 tokens']
  assert jrt.estimate == pytest.approx(2, abs=0.01)
  assert gain.estimate == pytest.approx(0.5, abs=0.01)
  for piece in EXHIBIT.show(results):
    charts.check(piece)


@pytest.mark.parametrize('other', ['jrt-1', 'jrt-2'])
def test_runs_that_differ_in_more_than_seeds_are_not_averaged(answers, other):
  results = answers(
      ('jrt-1', once(0.5), {}), (other, once(0.1), {'but_seed': 'larger'})
  )
  with pytest.raises(ValueError, match='differ in their seeds alone'):
    EXHIBIT.verdict(results)


def test_a_prompt_that_is_measured_alone_is_compared_with_nothing(answers):
  results = answers(('jrt-1', {'twice': 0.5}, {}))
  twice, _ = EXHIBIT.show(results)
  assert twice.rows == {'fda, 240 tokens': [None]}
  assert EXHIBIT.verdict(results).word == 'void'
