"""Texts and chats are read twice, and stay what they were."""

import copy

import pytest

from jrt_jax import prompting

TEXTS, CHAT = ['a', 'b\n'], [
    {'role': 'system', 'content': 'Be brief.'},
    {'role': 'user', 'content': 'Hello!'},
    {'role': 'assistant', 'content': 'Hello.'},
    {'role': 'user', 'content': 'Bob has a dog. Who?', 'name': 'Ann'},
]


def test_a_text_is_read_twice_and_so_is_each_of_a_batch():
  assert prompting.read_twice('a') == 'a\na'
  assert prompting.read_twice(TEXTS) == ['a\na', 'b\n\nb\n']
  assert prompting.read_twice([]) == []


def test_of_a_chat_the_last_message_of_the_user_is_read_twice():
  before = copy.deepcopy(CHAT)
  twice = prompting.read_twice(CHAT)
  assert twice[:3] == CHAT[:3]
  content = 'Bob has a dog. Who?\nBob has a dog. Who?'
  assert twice[3] == {'role': 'user', 'content': content, 'name': 'Ann'}
  assert CHAT == before


def test_or_any_other_message_of_all_chats_of_a_batch():
  one, other = prompting.read_twice([CHAT, CHAT[:2]], at=0)
  assert one[0]['content'] == other[0]['content'] == 'Be brief.\nBe brief.'
  assert one[1:] == CHAT[1:] and other[1:] == CHAT[1:2]
  assert prompting.read_twice(CHAT, at=-2)[2]['content'] == 'Hello.\nHello.'


def test_parts_of_a_message_are_read_again_after_all_of_them():
  image = {'type': 'image_url', 'image_url': {'url': 'https://a.b/c.png'}}
  parts = [image, {'type': 'text', 'text': 'What is it?'}]
  (message,) = prompting.read_twice([{'role': 'user', 'content': parts}])
  line_break = {'type': 'text', 'text': '\n'}
  assert message['content'] == [*parts, line_break, *parts]


@pytest.mark.parametrize(
    'prompt, at, message',
    [
        (3, None, 'prompt must be a text, .* got int'),
        (['a', b'b'], None, 'prompt must be a text, .* got bytes'),
        (CHAT[:1], None, "must have a message of role 'user', .*'system'"),
        (CHAT, 4, 'at must be the index of one of 4 messages, got 4'),
        ([{'role': 'user', 'content': None}], None, 'as content, got None'),
        ([{'role': 'user', 'content': []}], None, r'as content, got \[\]'),
    ],
)
def test_what_cannot_be_read_twice_is_one_clear_line(prompt, at, message):
  with pytest.raises(ValueError, match=message) as error:
    prompting.read_twice(prompt, at=at)
  assert '\n' not in str(error.value)
