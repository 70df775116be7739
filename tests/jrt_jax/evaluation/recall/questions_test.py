"""What is asked, and what does not fit into a model."""

import re

import pytest

from jrt_jax.evaluation.recall import questions as questions_lib
from recall_fakes import choice as choice
from recall_fakes import fake as fake
from recall_fakes import oracle as oracle
from recall_fakes import recall as recall

EVERY = questions_lib.Settings(
    prompts=('default', 'twice', 'hierarchical'), batch_size=3
)


def test_prompts_that_would_be_cut_are_counted_by_kind(oracle, recall):
  oracle.max_length = 109
  message = (
      'room for their answers in the 109 bytes of fake, but 4 of 7 boxes twice,'
      ' 4 of 7 boxes hierarchical do not: give a lower'
  )
  with pytest.raises(ValueError, match=re.escape(message)) as raised:
    questions_lib.ask(oracle, [recall], EVERY)
  assert '\n' not in str(raised.value)
  assert not oracle.asked
  oracle.max_length = max(len(e.once.last) for e in recall.examples) + 9
  questions_lib.ask(
      oracle, [recall], questions_lib.Settings(prompts=['default'])
  )
  oracle.max_length -= 1
  with pytest.raises(ValueError, match='2 of 7 boxes default do not'):
    questions_lib.ask(
        oracle, [recall], questions_lib.Settings(prompts=['default'])
    )


def test_choices_need_room_as_well(oracle, choice):
  longest = max(len(e.once.last) for e in choice.examples)
  settings = questions_lib.Settings(prompts=['default'])
  oracle.max_length = longest + len(' pearl0') + 1
  questions_lib.ask(oracle, [choice], settings)
  oracle.max_length -= 1
  with pytest.raises(ValueError, match='2 of 7 choices default'):
    questions_lib.ask(oracle, [choice], settings)


def test_a_cut_that_makes_more_tokens_is_cut_again(fake, recall):
  class Greedy(type(fake(str))):
    """Pairs of characters are tokens, from the end of the text on."""

    def encode(self, text):
      return [text[max(0, i - 2) : i] for i in range(len(text), 0, -2)][::-1]

    def decode(self, ids):
      return '~' + ''.join(ids)  # as some tokenizers add a space

  model = Greedy(lambda prompt: 'x', max_length=20)
  settings = questions_lib.Settings(['twice'], allow_truncation=True)
  questions = questions_lib.ask(model, [recall], settings)
  assert all(len(model.encode(q.prompt)) <= 11 for q in questions)
  assert all(
      q.prompt.endswith(q.example.again.question[-11:]) for q in questions
  )


def test_there_must_be_room_for_a_prompt(oracle, recall):
  oracle.max_length = 8
  settings = questions_lib.Settings(allow_truncation=True)
  with pytest.raises(
      ValueError, match='takes 8 bytes, and the answers need all'
  ):
    questions_lib.ask(oracle, [recall], settings)


def test_examples_must_differ_in_their_ids(oracle, recall):
  twice = recall._replace(examples=recall.examples + recall.examples[2:3])
  with pytest.raises(ValueError, match="boxes must .* got 'Box 2' twice"):
    questions_lib.ask(oracle, [twice], EVERY)


def test_a_task_must_have_examples(oracle, recall):
  with pytest.raises(ValueError, match='boxes must have examples, got none'):
    questions_lib.ask(oracle, [recall._replace(examples=[])], EVERY)


def test_a_prompt_that_cannot_be_made_names_its_example(oracle, recall):
  first = recall.examples[0]
  empty = first._replace(again=first.again._replace(question=''))
  work = recall._replace(examples=[empty, *recall.examples[1:]])
  with pytest.raises(ValueError, match='boxes, example Box 0: hierarchical'):
    questions_lib.ask(oracle, [work], EVERY)


def test_a_digest_is_of_all_that_is_asked(oracle, fake, recall, choice):
  def digest(works, settings=EVERY):
    return questions_lib.digest(questions_lib.ask(oracle, works, settings))

  first, *others = recall.examples
  changed = [
      first._replace(answers=('ruby',)),
      first._replace(id='Box 9'),
      first._replace(once=first.once._replace(last='?')),
  ]
  digests = {digest([recall]), digest([choice]), digest([recall, choice])}
  digests |= {digest([recall._replace(examples=[x, *others])]) for x in changed}
  digests.add(digest([recall], questions_lib.Settings(['default'])))
  assert len(digests) == 7
  assert digest([recall]) == digest(
      [recall], questions_lib.Settings(EVERY.prompts, batch_size=1)
  )
