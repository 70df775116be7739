"""Released prompts, to the character."""

import pytest

from golden.prompts import CLOZE
from golden.prompts import FDA
from golden.prompts import RELEASED
from jrt_jax.prompting import templates


@pytest.mark.parametrize('task', templates.TASKS)
def test_prompts_are_the_released_ones(task):
  record, default, twice = RELEASED[task]
  assert templates.task_prompt(task, record, p=1) == default
  assert templates.task_prompt(task, record) == twice


def test_default_prompts_keep_white_space_before_the_last_period():
  record = {**CLOZE, 'context': 'It is long .', 'question': 'The Rhine is'}
  for task in ('nq', 'triviaqa', 'drop'):
    default = templates.task_prompt(task, record, p=1)
    assert default == 'It is long . The Rhine is'
    assert 'It is long. The Rhine' in templates.task_prompt(task, record)


@pytest.mark.parametrize(
    'order, expected',
    [
        ('DQ', 'text question'),
        ('QDQ', 'question text question'),
        ('DDQ', 'text\ntext question'),
        ('QDDQ', 'question text\ntext question'),
        ('DQDQ', 'text question\ntext question'),
    ],
)
def test_an_order_says_what_is_read(order, expected):
  assert templates.jrt_prompt('text', 'question', order=order) == expected
  expected = expected.replace('question text', 'How long? text')
  intro = templates.jrt_prompt(
      'text', 'question', order=order, intro='How long?'
  )
  assert intro == expected


@pytest.mark.parametrize('p', [1, 2, 3, 7])
def test_the_context_is_read_p_times(p):
  prompt = templates.jrt_prompt('text', 'question', p)
  assert prompt.count('text') == p
  assert prompt.endswith('text question')
  assert prompt.startswith('question' if p > 1 else 'text')


@pytest.mark.parametrize('order', ['', 'Q', 'D', 'QD', 'QQDQ', 'DQQ', 'dq'])
def test_an_order_must_end_with_the_question(order):
  with pytest.raises(ValueError, match=f'order must be .* got {order!r}'):
    templates.jrt_prompt('text', 'question', order=order)


def test_mistakes_are_named():
  with pytest.raises(ValueError, match='p must be at least 1, got 0'):
    templates.jrt_prompt('text', 'question', 0)
  with pytest.raises(ValueError, match="task must be one of swde.*got 'imdb'"):
    templates.task_prompt('imdb', FDA)


@pytest.mark.parametrize('task', templates.TASKS)
def test_a_prompt_is_made_of_its_parts(task):
  record, _, twice = RELEASED[task]
  intro, context, question, last = templates.task_parts(task, record)
  assert twice == f'{intro} {context}\n{last}'
  assert last.startswith(context)
  assert last.split() == [*context.split(), *question.split()]
