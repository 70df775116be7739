"""Released prompts, to the character."""

import pytest

from jrt_jax.prompting import templates

FDA = {
    'text': '\nK160702 is an immunoassay by Phadia.\n',
    'key': 'applicant',
    'value': 'Phadia',
}
SWDE = {
    'text': '\nHeat (1995) | Michael Mann\n...Director:director:'
    'Summary of information above... Director: Michael Mann',
    'key': 'director',
    'value': 'Michael Mann',
}
SQUAD = {
    'text': ' Title: Rhine\nBackground: It is 1,230 km long.\n'
    'Question: How long? The Rhine is ',
    'context': 'Title: Rhine\nBackground: It is 1,230 km long.\n'
    'Question: How long?',
    'question': 'How long is the Rhine?',
    'value': '1,230 km',
}
CLOZE = {
    'context': '[DOC] [TLE] Rhine [PAR] It is 1,230 km long.. The Rhine is ',
    'question': 'The Rhine is',
    'orig_question': 'how long is the rhine:',
    'answers': ['1,230 km'],
}

# (task, record): the default prompt and the one that reads twice.
RELEASED = {
    'fda': (
        FDA,
        'K160702 is an immunoassay by Phadia. Applicant:',
        'Information about Applicant. K160702 is an immunoassay by Phadia.\n'
        'K160702 is an immunoassay by Phadia. Applicant:',
    ),
    'swde': (
        SWDE,
        'Heat (1995) | Michael Mann\n. Director:',
        'Information about Director. Heat (1995) | Michael Mann.\n'
        'Heat (1995) | Michael Mann. Director:',
    ),
    'squad': (
        SQUAD,
        'Title: Rhine\nBackground: It is 1,230 km long.\n'
        'Question: How long? The Rhine is',
        'How long is the Rhine? Title: Rhine\nBackground: It is 1,230 km long.'
        '\n\nTitle: Rhine\nBackground: It is 1,230 km long.\n'
        'Question: How long? The Rhine is',
    ),
    'nq': (
        CLOZE,
        '[DOC] [TLE] Rhine [PAR] It is 1,230 km long. The Rhine is',
        'how long is the rhine [DOC] [TLE] Rhine [PAR] It is 1,230 km long.\n'
        '[DOC] [TLE] Rhine [PAR] It is 1,230 km long. The Rhine is',
    ),
    'triviaqa': (
        CLOZE,
        'Rhine  It is 1,230 km long. The Rhine is',
        'how long is the rhine: Rhine  It is 1,230 km long.\n'
        'Rhine  It is 1,230 km long. The Rhine is',
    ),
    'drop': (
        CLOZE,
        '[DOC] [TLE] Rhine [PAR] It is 1,230 km long. The Rhine is',
        'how long is the rhine [DOC] [TLE] Rhine [PAR] It is 1,230 km long.\n'
        '[DOC] [TLE] Rhine [PAR] It is 1,230 km long. The Rhine is',
    ),
}


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
