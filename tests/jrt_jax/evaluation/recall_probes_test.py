import json

import jax
import numpy as np
import pytest

from configs import base
from jrt_jax import models
from jrt_jax.data import tokenizers
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.evaluation import recall_probes
from jrt_jax.evaluation.language_models.protocol import Score
from jrt_jax.prompting import prompts


class Lookup:
  """Knows the number of a name if the prompt has it after `is`, so often."""

  def __init__(self, readings=1):
    self._readings = readings
    self.asked = []

  def log_likelihood(self, pairs):
    self.asked += pairs
    return [self._score(*pair) for pair in pairs]

  def _score(self, prompt, continuation):
    name = prompt.split()[-2]
    known = prompt.count(f'{name} is{continuation}.') >= self._readings
    return Score(-1.0 if known else -9.0, known, 2)


@pytest.fixture
def config(tiny_config):
  """A function that returns the config of a run of bytes."""

  def make(**probes):
    config = base.get_config().to_dict()
    model = tiny_config(mixers=('pla',), vocab_size=258, mask_id=257)
    config |= {'model': model, 'sequence_length': 32}
    config['probes'] |= {'every': 5, 'count': 3, 'pairs': 2} | probes
    return config

  return make


def write(path, *rows):
  path.write_text('\n'.join(map(json.dumps, rows)))
  return str(path)


def test_contexts_hold_their_answers_once_and_the_question_asks_for_one():
  examples = recall_probes.pairs_of_words(20, 5)
  assert examples == recall_probes.pairs_of_words(20, 5)
  assert examples != recall_probes.pairs_of_words(20, 5, seed=1)
  for example in examples:
    words = example.once.context.replace('.', '').split()
    names, values = words[::3], words[2::3]
    assert len({*names}) == len({*values}) == 5
    (answer,) = example.answers
    assert example.once.question == f'{names[values.index(answer)]} is'
  places = {x.once.context.index(x.answers[0]) for x in examples}
  assert len(places) == 5  # anywhere in the context


def test_there_may_be_more_pairs_than_numbers_of_three_digits():
  (example,) = recall_probes.pairs_of_words(1, 2000)
  assert example.once.context.count(' is ') == 2000


def test_whoever_looks_up_the_answer_recalls_it():
  examples = recall_probes.pairs_of_words(7, 4)
  assert recall_probes.ask(Lookup(), examples, 'default') == (1.0, 0.5)
  twice = Lookup(readings=2)
  assert recall_probes.ask(twice, examples, 'default') == (0.0, 4.5)
  assert recall_probes.ask(twice, examples, 'twice') == (1.0, 0.5)
  for (prompt, _), example in zip(twice.asked[7:], examples):
    assert prompt == prompts.prompt('twice', example.once, example.again)


def test_one_of_several_answers_suffices():
  example, other = recall_probes.pairs_of_words(2, 4)
  several = example._replace(answers=('1', *example.answers, '22'))
  model = Lookup()
  found = recall_probes.ask(
      model, [several, other._replace(answers=('1',))], 'twice'
  )
  assert found == (0.5, (0.5 + 4.5) / 2)
  assert [x for _, x in model.asked] == [
      ' 1',
      f' {example.answers[0]}',
      ' 22',
      ' 1',
  ]


def test_a_run_is_asked_with_its_weights_and_its_tokenizer(
    config, compilations
):
  settings = config(prompts=('default', 'question_first'))
  probe = recall_probes.make(settings, tokenizers.Bytes())
  build = models.build(settings['model'])
  params = models.split(build)[1]
  found = probe(params)
  kinds = 'default', 'question_first'
  names = [f'{x}_{kind}' for kind in kinds for x in ('recall', 'answer_loss')]
  assert [*found] == ['recall_chance', *names]
  assert found['recall_chance'] == 1 / 2  # of pairs
  # Untrained: about as likely as any of 258 ids.
  _, *values = found.values()
  assert (np.array(values[1::2]) > 3).all() and {*values[::2]} == {0.0}
  doubled = jax.tree.map(lambda x: 2 * x, params)
  before = compilations()
  other = probe(doubled)
  assert compilations() == before and other != found
  assert probe(params) == found


def test_without_probes_there_is_nothing_to_ask(config):
  assert recall_probes.make(config(every=0, path='no.jsonl'), None) is None


def test_a_run_without_text_is_not_asked(config):
  with pytest.raises(ValueError, match='^config.probes.every must be 0 if'):
    recall_probes.make(config(), split_lib.Ids(99))


def test_questions_of_a_file_are_asked(config, tmp_path):
  row = {'context': 'Ann is 3.', 'question': 'Ann is', 'answers': ['3', '4']}
  path = write(tmp_path / 'a.jsonl', *[row] * 5)
  example, *others = recall_probes._examples(config(path=path)['probes'])
  assert len(others) == 2 and example.answers == ('3', '4')
  assert recall_probes.ask(Lookup(), [example], 'default') == (1.0, 0.5)


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ([], 'must have questions with answers, .* has none'),
        (
            [{'context': 'a', 'question': 'b'}],
            'a.jsonl:1: answers must be given',
        ),
        (
            [{'context': 'a', 'question': 'b', 'answers': []}],
            'a.jsonl:1: answers must be ',
        ),
    ],
)
def test_a_file_without_questions_is_refused(config, tmp_path, rows, message):
  path = write(tmp_path / 'a.jsonl', *rows)
  with pytest.raises(ValueError, match=f'^config.probes.path.*{message}'):
    recall_probes.make(config(path=path), tokenizers.Bytes())


@pytest.mark.parametrize(
    ('path', 'error'), [('no.jsonl', OSError), ('a.csv', ValueError)]
)
def test_a_path_that_names_no_questions_is_refused(config, path, error):
  with pytest.raises(error, match=f'^config.probes.path: .*{path}'):
    recall_probes.make(config(path=path), tokenizers.Bytes())
