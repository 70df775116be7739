import numpy as np
import pytest

from jrt_jax import generation
from jrt_jax.generation import prefill
from jrt_jax.generation import prompt_segments
from jrt_jax.generation.prompt_segments import Segment

FIRST, SECOND = 'to begin with', 'and further'
SETTINGS = generation.GenerationSettings(
    max_tokens=5
)  # fewer than are drawn at once


@pytest.fixture(scope='module')
def small(make_model):
  return make_model(('pla',))


def assert_same(actual, expected):
  for name in ('logits', 'position', 'prefix'):
    np.testing.assert_allclose(
        getattr(actual, name), getattr(expected, name), rtol=1e-5, atol=1e-5
    )


def say(conversation, text):
  """Returns the ids of a turn and of its continuation."""
  said = conversation.say(text)
  for _ in said:
    pass
  return said.prompts[0], said.completions[0].tokens


@pytest.mark.parametrize('turn', ['append_causal', 'turn_blocks'])
def test_a_turn_is_read_after_all_that_was_said(small, turn):
  conversation = generation.Conversation(small, SETTINGS, turn=turn)
  first, answer = say(conversation, FIRST)
  second, second_answer = say(conversation, SECOND)
  row = [
      *prompt_segments.of_prompt(small, first),
      Segment(answer, False),
      *prompt_segments.of_turn(small, second, turn),
      Segment(second_answer, False),
  ]
  assert_same(conversation.decode_state, prefill.prefill(small, [row]))


def test_everything_can_be_read_anew(small):
  conversation = generation.Conversation(small, SETTINGS, turn='reencode')
  first, answer = say(conversation, FIRST)
  prompt, second_answer = say(conversation, SECOND)
  whole = np.concatenate([first, answer, small.encode(SECOND)])
  np.testing.assert_array_equal(prompt, whole)
  row = [
      *prompt_segments.of_prompt(small, whole),
      Segment(second_answer, False),
  ]
  assert_same(conversation.decode_state, prefill.prefill(small, [row]))


def test_turns_draw_with_different_seeds(small):
  sampling = generation.Sampling(temperature=50.0)  # whatever was said
  settings = generation.GenerationSettings(sampling=sampling, max_tokens=16)
  conversation = generation.Conversation(small, settings)
  answers = [say(conversation, FIRST)[1] for _ in range(2)]
  assert not np.array_equal(*answers)


def test_a_conversation_starts_from_what_was_read(small):
  before = prefill.prefill(small, [[Segment(small.encode(FIRST), False)]])
  conversation = generation.Conversation(small, SETTINGS, after=before)
  turn, _ = say(conversation, SECOND)
  assert conversation.decode_state.position[0] == len(FIRST) + len(turn) + 5


def test_what_is_only_a_state_cannot_be_read_anew(small):
  before = prefill.prefill(small, [[Segment(small.encode(FIRST), False)]])
  with pytest.raises(ValueError, match="turn='reencode' needs the tokens"):
    generation.Conversation(small, turn='reencode', after=before)


def test_an_unknown_turn_is_refused(small):
  with pytest.raises(ValueError, match="turn must be one of .* got 'wait'"):
    generation.Conversation(small, turn='wait')
