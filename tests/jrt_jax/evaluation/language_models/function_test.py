"""A Python function is asked prompt by prompt."""

import math

import pytest

from jrt_jax.evaluation import language_models
from jrt_jax.evaluation.language_models.function import Function


def last_word(prompt):
  return f' {prompt.split()[-1]}, and so on. And on.'


def test_a_function_continues_prompts():
  model = Function(last_word, name='last')
  found = model.generate(['a b c', 'd'], max_tokens=3, stop=['. '])
  assert [x.text for x in found] == [' c, and so', ' d, and so']
  assert [x.prompt_tokens for x in found] == [3, 1]
  assert math.isnan(found[0].prefill_seconds)
  assert model.unit == 'words'


def test_a_text_ends_before_a_stop_text():
  (found,) = Function(last_word, name='').generate(
      ['a'], max_tokens=99, stop=['. ']
  )
  assert found.text == ' a, and so on'


def test_a_function_may_know_more():
  def known(prompt):
    return prompt

  known.encode, known.decode = list, ''.join
  known.max_length, known.device = 5, 'abacus'
  known.log_likelihood = lambda pairs: [(-1.5, True, len(x)) for _, x in pairs]
  model = Function(known, name='known')
  assert (model.unit, model.device) == ('tokens', 'abacus')
  (found,) = model.generate(['abc'], max_tokens=2)
  assert found.text == 'ab' and found.prompt_tokens == 3
  (score,) = model.log_likelihood([('a', 'bc')])
  assert score == language_models.Score(-1.5, True, 2)
  with pytest.raises(ValueError, match='known reads at most 5 tokens, got 4'):
    model.generate(['abc', 'abcd'], max_tokens=2)


def test_log_likelihoods_may_be_missing():
  with pytest.raises(language_models.NoLogLikelihoods, match='^last must have'):
    Function(last_word, name='last').log_likelihood([('a', 'b')])


@pytest.mark.parametrize(
    'found',
    [[(-1.0, True, 1)], -1.0, [-1.0, -2.0], [(-1.0, True)] * 2, None]
    + [[(float('nan'), True, 1)] * 2, [('a', True, 1)] * 2],
)
def test_there_must_be_a_score_for_each_pair(found):
  def scorer(prompt):
    return prompt

  scorer.log_likelihood = lambda pairs: found
  with pytest.raises(
      ValueError, match='^s.log_likelihood must .* 2 pairs, got'
  ):
    Function(scorer, name='s').log_likelihood([('a', 'b'), ('a', 'c')])


def test_what_is_returned_must_be_a_text():
  with pytest.raises(ValueError, match='len must return a text, got int'):
    Function(len, name='len').generate(['a'], max_tokens=1)


def test_a_tokenizer_has_both_ways():
  def half(prompt):
    return prompt

  half.encode = list
  with pytest.raises(ValueError, match='half must have both encode and decode'):
    Function(half, name='half')


def test_a_module_of_the_user_is_found(tmp_path, monkeypatch):
  (tmp_path / 'my_models.py').write_text(
      'class Models:\n  shout = staticmethod(str.upper)\n'
  )
  monkeypatch.syspath_prepend(tmp_path)
  model = language_models.load('python:my_models:Models.shout')
  assert model.generate(['a b'], max_tokens=9)[0].text == 'A B'
  assert model.fingerprint and Function(len, name='').fingerprint is None


@pytest.mark.parametrize(
    ('place', 'message'),
    [
        ('math', ':package.module:attribute$'),
        ('no_such_module:f', 'one of them does not exist: No module named'),
        (
            'math:no_such_name',
            "one of them does not exist: module 'math' has no attribute",
        ),
        ('math:pi', 'a function from a prompt to its continuation, got float'),
    ],
)
def test_a_function_that_is_not_there_is_named(place, message):
  with pytest.raises(
      ValueError, match=f'^python:{place} must be python.*{message}'
  ):
    language_models.load(f'python:{place}')
