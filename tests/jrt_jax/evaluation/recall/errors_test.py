"""Wrong answers fall into the classes of the paper's Table 13."""

import pytest

from jrt_jax.evaluation.recall import errors

PROMPT = 'Device K160702 is an immunoassay by Phadia. ' + 'So it goes on. ' * 50
QUESTIONS = ('Information about Applicant.', 'Applicant:')


@pytest.mark.parametrize(
    ('answer', 'expected'),
    [
        (' ', 'no_answer'),
        ('\nPhadia', 'no_answer'),  # the first line counts
        (' IS an immunoassay', 'repetition'),  # of the start of the prompt
        ('information about applicant', 'repetition'),  # of the question
        ('an immunoassay whose name nobody knows', 'irrelevant'),  # 2 of 6
        ('an immunoassay, so', 'repetition'),  # 2 of 3
        ('immunoassay is K160702', 'irrelevant'),  # not in that order
        ('...', 'irrelevant'),
    ],
)
def test_an_answer_has_a_class(answer, expected):
  assert errors.classify(answer, PROMPT, QUESTIONS) == expected


def test_only_the_first_64_words_are_the_start():
  prompt = 'so ' * 64 + 'the end of it'
  assert errors.classify('the end of it', prompt, ['']) == 'irrelevant'
  assert errors.classify('so so', prompt, ['']) == 'repetition'


def test_rates_and_right_answers_sum_up_to_1():
  classes = [None, 'no_answer', 'irrelevant', None, 'irrelevant']
  assert errors.rates(classes) == pytest.approx(
      {'no_answer': 0.2, 'repetition': 0, 'irrelevant': 0.4}
  )


def test_a_prompt_that_does_not_help_is_told():
  # Mamba-2.8B on SQuAD in Table 13: 5.5 to 32.9 % repetition.
  before, after = {'repetition': 0.055}, {'repetition': 0.329}
  assert errors.warnings('twice', 0.211, after, before) == [
      'twice makes 32.9% of answers repeat the prompt, default 5.5%'
  ]
  assert errors.warnings('twice', -0.01, before, before) == [
      'twice recalls no more than default (-1.0 points)'
  ]
  assert not errors.warnings('twice', 0.1, before, {'repetition': 0.01})
