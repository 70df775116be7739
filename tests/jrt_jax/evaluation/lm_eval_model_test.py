"""The harness gets what generation and scoring compute."""

import json
import types

import jax
import numpy as np
import pytest

from jrt_jax import generation
from jrt_jax.evaluation import scoring
from jrt_jax.training import workdirs

pytestmark = pytest.mark.hf  # needs lm_eval

GENERATION = {'until': ['e'], 'max_gen_toks': 12}
QUESTIONS = ['a', 'which of these is longer than its prefix?', 'short']
CHOICES = ['yes', 'no, not at all']


@pytest.fixture(scope='module')
def lm_eval_model():
  from jrt_jax.evaluation import lm_eval_model

  return lm_eval_model


@pytest.fixture(scope='module')
def harness():
  from jrt_jax.evaluation import harness

  return harness


@pytest.fixture(scope='module')
def workdir(tmp_path_factory, model):
  path = tmp_path_factory.mktemp('runs') / 'run'
  workdirs.write(path, model.config, model.params, origin='a test')
  return path


@pytest.fixture(scope='module')
def evaluated(lm_eval_model, workdir):
  return lm_eval_model.JrtJax(str(workdir), batch_size='2', check_leaks=True)


@pytest.fixture
def write_task(tmp_path):
  """A function that describes a task with local data; returns its file."""

  def write(name, **settings):
    data = tmp_path / f'{name}.jsonl'
    rows = [
        {'question': q, 'choices': CHOICES, 'answer': CHOICES[0]}
        for q in QUESTIONS
    ]
    data.write_text('\n'.join(map(json.dumps, rows)))
    task = {
        'task': name,
        'dataset_path': 'json',
        'dataset_kwargs': {
            'data_files': {'test': str(data)},
            'cache_dir': str(tmp_path / 'cache'),
        },
        'test_split': 'test',
        'doc_to_text': '{{question}}',
        'doc_to_target': '{{answer}}',
        'target_delimiter': '',
        **settings,
    }
    path = tmp_path / f'{name}.yaml'
    path.write_text(json.dumps(task))  # JSON is YAML
    return str(path)

  return write


def requests(*arguments):
  return [types.SimpleNamespace(args=x) for x in arguments]


def responses(results, task):
  """Of each question, in order; one for each choice."""
  samples = sorted(results['samples'][task], key=lambda x: x['doc_id'])
  return [
      [response for responses in sample['resps'] for response in responses]
      for sample in samples
  ]


def test_texts_are_those_of_generation(harness, evaluated, model, write_task):
  task = write_task(
      'texts', output_type='generate_until', generation_kwargs=GENERATION
  )
  results = harness.evaluate(evaluated, [task])
  settings = generation.GenerationSettings(max_tokens=12, stop=('e',))
  expected = generation.generate(model, QUESTIONS, settings)
  assert responses(results, 'texts') == [[x.text] for x in expected]
  assert 'exact_match' in harness.table(results)


def test_choices_are_scored_after_their_context(
    harness, evaluated, model, write_task
):
  task = write_task(
      'choices', output_type='multiple_choice', doc_to_choice='choices'
  )
  results = harness.evaluate(evaluated, [task], limit=2)
  pairs = [
      (model.encode(question), model.encode(choice))
      for question in QUESTIONS[:2]
      for choice in CHOICES
  ]
  expected = [score.log_likelihood for score in scoring.score(model, pairs)]
  found = [x for row in responses(results, 'choices') for x, _ in row]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize('context', ['', ' '])
def test_what_has_no_context_follows_the_end_of_a_text(
    evaluated, model, context
):
  (found,) = evaluated.loglikelihood(requests((context, 'abc')))
  pair = np.array([256]), model.encode(context + 'abc')
  (expected,) = scoring.score(model, [pair])
  assert found == pytest.approx(expected)


def test_a_text_is_scored_in_windows(evaluated, model):
  text = 'a text that has more than two windows'  # of 16 tokens
  found = evaluated.loglikelihood_rolling(requests((text,), ('',)))
  tokens = model.encode(text)
  starts = range(16, len(tokens), 8)
  pairs = [(np.array([256]), tokens[:16])] + [
      (tokens[i - 8 : i], tokens[i : i + 8]) for i in starts
  ]
  expected = sum(x.log_likelihood for x in scoring.score(model, pairs))
  assert found == pytest.approx([expected, 0.0])


def test_draws_can_be_asked_for(evaluated):
  asked = {'do_sample': True, 'max_gen_toks': 8}
  greedy, drawn, other = evaluated.generate_until(
      requests(
          ('text', {'temperature': 1.0, 'max_gen_toks': 8}),
          ('text', asked),
          ('text', asked),
      )
  )
  assert len({greedy, drawn, other}) == 3


def test_what_is_drawn_does_not_depend_on_the_batch(lm_eval_model, workdir):
  asked = {'do_sample': True, 'max_gen_toks': 8}
  texts = ['one', 'another', 'and a third', 'one']
  one_by_one, together = (
      lm_eval_model.JrtJax(str(workdir), batch_size=size).generate_until(
          requests(*((text, asked) for text in order))
      )
      for size, order in ((1, texts), (4, texts[::-1]))
  )
  assert one_by_one[1:3] == together[2:0:-1]
  assert {one_by_one[0], one_by_one[3]} == {together[0], together[3]}
  assert one_by_one[0] != one_by_one[3]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'num_beams': 4}, r"repetition_penalty, got \['num_beams'\]"),
        ({'max_gen_toks': -1}, 'max_tokens must be at least 0, got -1'),
    ],
)
def test_impossible_arguments_are_refused(evaluated, arguments, message):
  with pytest.raises(ValueError, match=message):
    evaluated.generate_until(requests(('a', arguments)))


@pytest.fixture
def leaky(monkeypatch):
  """A function that makes the last of some contexts leak."""
  honest = scoring.logits

  def leak_after(last):
    def logits(model, context, following, settings):
      if not np.array_equal(context, last):
        return honest(model, context, following, settings)
      rows = np.int32([np.concatenate([context, x]) for x in following])
      everything = np.full(len(rows), rows.shape[1], np.int32)
      return jax.device_get(
          model.merge(model.params)(rows, prefix_len=everything)
      )

    monkeypatch.setattr(scoring, 'logits', logits)

  return leak_after


CONTEXTS = ['the first', 'another', 'the last']


@pytest.mark.parametrize(
    ('method', 'argument', 'context'),
    [
        ('loglikelihood', 'abc', None),
        ('generate_until', {'max_gen_toks': 3}, None),
        ('loglikelihood_rolling', None, [256]),
    ],
)
def test_every_request_is_checked_for_leaks(
    evaluated, model, leaky, capsys, method, argument, context
):
  asked = requests(*((text, argument) for text in CONTEXTS))
  getattr(evaluated, method)(asked)
  assert 'no leaks in the first 15 tokens of 3' in capsys.readouterr().out
  leaky(model.encode(CONTEXTS[-1]) if context is None else context)
  with pytest.raises(ValueError, match='must not depend on what follows'):
    getattr(evaluated, method)(asked)


def test_what_was_not_checked_is_told(evaluated, capsys):
  evaluated.generate_until(requests(('a', {'max_gen_toks': 0})))
  said = capsys.readouterr().out
  assert 'no leaks in the first 15 tokens of 0 drawn texts (1 more are' in said


@pytest.mark.parametrize('size', ['auto', 'auto:4'])
def test_a_batch_size_may_be_left_to_the_model(lm_eval_model, workdir, size):
  model = lm_eval_model.JrtJax(str(workdir), batch_size=size)
  assert model.origin['batch_size'] == 8


def test_a_batch_size_is_a_number(lm_eval_model, workdir):
  with pytest.raises(ValueError, match="a number or auto, got 'many'"):
    lm_eval_model.JrtJax(str(workdir), batch_size='many')


def test_the_workdir_may_be_named_as_in_other_commands(
    harness, evaluated, workdir
):
  model = harness.lm_eval.api.registry.get_model('jrt_jax')
  named = model.create_from_arg_string(f'workdir={workdir}')
  assert named.model.fingerprint == evaluated.model.fingerprint


@pytest.mark.parametrize('given', [{}, {'pretrained': 'a', 'workdir': 'b'}])
def test_one_workdir_must_be_given(lm_eval_model, given):
  with pytest.raises(ValueError, match='^either workdir=DIR or pretrained=DIR'):
    lm_eval_model.JrtJax(**given)


def test_messages_become_a_prompt(lm_eval_model, workdir, tmp_path):
  (tmp_path / 'chat.jinja').write_text(
      '{% for message in messages %}\n'
      '<{{ message.role }}> {{ message.content }}\n'
      '{% endfor %}\n'
      '{% if add_generation_prompt %}\n<assistant>{% endif %}'
  )
  model = lm_eval_model.JrtJax(
      str(workdir), chat_template=str(tmp_path / 'chat.jinja')
  )
  messages = [{'role': 'user', 'content': 'one, two'}]
  assert model.apply_chat_template(messages) == '<user> one, two\n<assistant>'
  assert model.apply_chat_template(messages, False) == '<user> one, two\n'


def test_messages_need_a_template(evaluated):
  with pytest.raises(ValueError, match='needs chat_template=FILE in --model_a'):
    evaluated.chat_template(True)


def test_an_answer_may_contain_its_reference(harness, evaluated, write_task):
  task = write_task(
      'contained',
      output_type='generate_until',
      generation_kwargs={'max_gen_toks': 2},
      metric_list=[{'metric': 'contains'}],
  )
  results = harness.evaluate(evaluated, [task], limit=1)
  assert results['results']['contained']['contains,none'] == 0.0
  contains = harness.metrics.contains
  assert contains(['Yes', 'no'], ['oh, yes', 'not']) == 1.0
  assert contains(['yes', 'no'], ['yesterday', 'yes']) == 0.5


@pytest.mark.parametrize(
    ('metric', 'message'),
    [
        ({'metric': 'accurracy', 'aggregation': 'mean'}, "got 'accurracy'"),
        ({'metric': 'accurracy'}, 'metrics that lm_eval knows, got none for'),
    ],
)
def test_an_unknown_metric_is_refused_before_anything_is_scored(
    harness, evaluated, write_task, monkeypatch, metric, message
):
  monkeypatch.setattr(evaluated, 'generate_until', None)
  task = write_task(
      'misspelt', output_type='generate_until', metric_list=[metric]
  )
  with pytest.raises(ValueError, match=message):
    harness.evaluate(evaluated, [task])


def test_damaged_data_is_refused(harness, evaluated, write_task, tmp_path):
  task = write_task('damaged', output_type='multiple_choice')
  (tmp_path / 'damaged.jsonl').write_text('{"question": ')
  with pytest.raises(ValueError, match='the data of .*damaged.yaml: '):
    harness.evaluate(evaluated, [task])
