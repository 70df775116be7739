"""What holds of every task: formats, labels, chance. Programs solve them."""

import numpy as np
import pytest

from configs import base
from jrt_jax.data.synthetic import tasks
from jrt_jax.data.synthetic.task import NO_ANSWER

SETTINGS = base.get_config().data.synthetic.to_dict()


def settings(name, **changes):
  return SETTINGS | {'num_ids': tasks.TASKS[name].num_ids} | changes


def draw(name, size, seed=0, **changes):
  rng = np.random.default_rng(seed)
  return tasks.TASKS[name].draw(rng, size, settings(name, **changes))


def columns(tokens, mark, number):
  """x1 y1 x2 y2 … before a mark, as columns."""
  return np.reshape(tokens[: tokens.index(mark)], (-1, number)).T.tolist()


def table(keys, values):
  return dict(zip(keys, values))


def mqar_table(tokens, size):
  return table(tokens[: 2 * size[1] : 2], tokens[1 : 2 * size[1] : 2])


def solve_mqar(tokens, size):
  known = mqar_table(tokens, size)
  return lambda i: known[tokens[i]]


def solve_pairs(tokens, size):
  del size
  known = table(*columns(tokens, 1, 2))
  return lambda i: known.get(tokens[i], 0)


def solve_selective_recall(tokens, size):
  del size
  asked = tokens[tokens.index(2) - 1]
  items = zip(*columns(tokens, 1, 3))
  known = {(c, k): v for c, k, v in items}
  return lambda i: known[asked, tokens[i]]


def solve_multi_hop(tokens, size):
  del size
  known = table(*columns(tokens, 1, 2))
  return lambda i: known[known[tokens[i]]]


def solve_forward_reference(tokens, size):
  said = tokens[size + 1 :]
  known = table(said[::2], said[1::2])
  return lambda i: known[tokens[i]]


def sets(tokens):
  middle, end = tokens.index(2), tokens.index(3)
  return tokens[1:middle], tokens[middle + 1 : end], end


def solve_set_disjointness(tokens, size):
  assert tuple(map(len, sets(tokens)[:2])) == size
  a, b, end = sets(tokens)
  shared = [x for x in b if x in a]
  return lambda i: shared[i - end]


SOLVERS = {
    'mqar': solve_mqar,
    'needle': solve_pairs,
    'general_associative_recall': solve_pairs,
    'selective_recall': solve_selective_recall,
    'multi_hop': solve_multi_hop,
    'forward_reference': solve_forward_reference,
    'set_disjointness': solve_set_disjointness,
}
SIZES = {name: 6 for name in SOLVERS}
SIZES |= {'mqar': (32, 4), 'set_disjointness': (4, 7)}


def category_values(tokens):
  asked = tokens[tokens.index(2) - 1]
  return [v for c, _, v in zip(*columns(tokens, 1, 3)) if c == asked]


def ends_of_chains(tokens):
  keys, values = columns(tokens, 1, 2)
  return [x for x in values if x not in keys]


# What one who remembers the prompt's answers, but no pairs, guesses among.
OPEN = {
    'mqar': lambda tokens: list(mqar_table(tokens, SIZES['mqar']).values()),
    'needle': lambda tokens: columns(tokens, 1, 2)[1],
    'general_associative_recall': lambda tokens: [0],
    'selective_recall': category_values,
    'multi_hop': ends_of_chains,
    'forward_reference': lambda tokens: tokens[8::2],
    'set_disjointness': lambda tokens: min(sets(tokens)[:2], key=len),
}


def answers(sample):
  """[(position, answer), …]"""
  places = np.flatnonzero(sample.targets != NO_ANSWER)
  return [(i, sample.targets[i]) for i in places.tolist()]


def test_every_task_is_tested():
  assert {*SOLVERS} == {*OPEN} == {*tasks.TASKS}


@pytest.mark.parametrize('name', tasks.TASKS)
def test_a_program_that_reads_the_tokens_gives_every_answer(name):
  size = SIZES[name]
  for seed in range(30):
    sample = draw(name, size, seed)
    solved = SOLVERS[name](sample.tokens.tolist(), size)
    assert answers(sample)
    for place, answer in answers(sample):
      assert solved(place) == answer


# Besides the settings of each task alone: others that change what is asked.
GUESSED = [(name, {}) for name in tasks.TASKS] + [
    ('needle', {'queries': 4}),
    ('selective_recall', {'categories': 2}),
    ('selective_recall', {'queries': 1}),
    ('multi_hop', {'queries': 2}),
    ('mqar', {'queries': 2}),
    ('set_disjointness', {'intersections': 3}),
]


def guess(sample, open_answers, rng):
  """Whether each guess is right.

  Answers that have been read are left out; set_disjointness alone shows them.
  """
  tokens, right = sample.tokens.tolist(), []
  for place, answer in answers(sample):
    read = tokens[sample.prompt_len : place + 1]
    left = [x for x in open_answers if x not in read]
    right.append(rng.choice(left) == answer)
  return right


@pytest.mark.parametrize('name, changes', GUESSED)
def test_guessing_is_right_as_often_as_the_task_says(name, changes):
  rng, right, size = np.random.default_rng(1), [], SIZES[name]
  for seed in range(300):
    sample = draw(name, size, seed, **changes)
    right += guess(sample, OPEN[name](sample.tokens.tolist()), rng)
  chance = tasks.TASKS[name].chance(size, settings(name, **changes))
  error = (chance * (1 - chance) / len(right)) ** 0.5
  assert np.mean(right) == pytest.approx(chance, abs=4 * error + 1e-9)


@pytest.mark.parametrize('name', tasks.TASKS)
def test_samples_of_one_size_are_equally_long_and_differ(name):
  drawn = [draw(name, SIZES[name], seed) for seed in range(20)]
  assert len({len(sample.tokens) for sample in drawn}) == 1
  assert len({sample.prompt_len for sample in drawn}) == 1
  assert len({sample.tokens.tobytes() for sample in drawn}) == 20


@pytest.mark.parametrize('name', tasks.TASKS)
def test_ids_are_those_that_the_config_allows(name):
  for seed in range(20):
    sample = draw(name, SIZES[name], seed, num_ids=40)
    tokens, targets = sample.tokens, sample.targets
    assert len(tokens) == len(targets)
    assert tokens.min() >= 0 and max(tokens.max(), targets.max()) < 40


@pytest.mark.parametrize('name', tasks.TASKS)
def test_no_answer_stands_in_the_prompt_but_those_that_come_before_it(name):
  sample = draw(name, SIZES[name])
  inside = [i for i, _ in answers(sample) if i < sample.prompt_len]
  assert bool(inside) == (name == 'forward_reference')


@pytest.mark.parametrize('name', tasks.TASKS)
def test_ids_that_are_too_few_are_refused_in_one_line(name):
  with pytest.raises(ValueError, match='^config.data.synthetic.num_ids must'):
    draw(name, SIZES[name], num_ids=9)


@pytest.mark.parametrize('name', ['needle', 'selective_recall', 'multi_hop'])
def test_the_question_stands_where_the_order_says(name):
  once = draw(name, SIZES[name])
  prompt = once.tokens[: once.prompt_len].tolist()
  document = prompt[: prompt.index(1)]
  parts = {'D': document, 'Q': prompt[len(document) :]}
  for order in ('QD', 'QDQ', 'DQDQ'):
    sample = draw(name, SIZES[name], order=order)
    expected = sum((parts[letter] for letter in order), [])
    expected += once.tokens[once.prompt_len :].tolist()
    assert sample.tokens.tolist() == expected
    shift = sample.prompt_len - once.prompt_len
    assert answers(sample) == [(i + shift, x) for i, x in answers(once)]
