"""Texts and chats that are repeated as a whole.

If context and question are separate, `templates.jrt_prompt` makes a better
prompt of them: it also asks the question first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]  # 'role', 'content' and other keys of a server
Prompt = str | Sequence[Message]


def read_twice(
    prompt: Prompt | Sequence[Prompt], *, at: int | None = None
) -> Any:
  """Returns prompts that are repeated, with a line break between the copies.

  In a chat, one message is repeated, and the others stay unchanged. The given
  messages are not modified.

  >>> read_twice('Bob has a dog. Bob has a')
  'Bob has a dog. Bob has a\\nBob has a dog. Bob has a'
  >>> read_twice([{'role': 'user', 'content': 'Who has a dog?'}])
  [{'role': 'user', 'content': 'Who has a dog?\\nWho has a dog?'}]

  Args:
    prompt: a text; or a chat, which is a list of messages like OpenAI's, whose
      content is a text or a list of parts (all parts are repeated, images too);
      or a list of texts or chats, for which a list is returned.
    at: the index of the message to repeat. None: the user's last message.

  Raises:
    ValueError: a chat has no such message, the message has no content, or
      `prompt` is neither a text nor a chat.

  Source: Arora et al. 2024 (JRT-Prompt), https://arxiv.org/abs/2407.05483.
  """
  if isinstance(prompt, str):
    return f'{prompt}\n{prompt}'
  if not isinstance(prompt, Sequence) or isinstance(prompt, bytes):
    raise ValueError(
        'prompt must be a text, a list of messages, or a list of these, got'
        f' {type(prompt).__name__}'
    )
  if not prompt or not isinstance(prompt[0], Mapping):
    return [read_twice(each, at=at) for each in prompt]
  i = _index(prompt, at)
  return [*prompt[:i], _twice(prompt[i]), *prompt[i + 1 :]]


def _index(chat, at):
  """The index of the message to repeat."""
  if at is None:
    of_user = (i for i, x in enumerate(chat) if x.get('role') == 'user')
    if (last := max(of_user, default=None)) is None:
      raise ValueError(
          "a chat must have a message of role 'user', or at= must name the"
          f' message to repeat, got roles {[x.get("role") for x in chat]}'
      )
    return last
  if not -len(chat) <= at < len(chat):
    raise ValueError(
        f'at must be the index of one of {len(chat)} messages, got {at}'
    )
  return at % len(chat)


def _twice(message):
  content = message.get('content')
  if isinstance(content, str):
    return {**message, 'content': read_twice(content)}
  if not isinstance(content, list) or not content:
    raise ValueError(
        'the message to repeat must have a text or a list of parts as content,'
        f' got {content!r}'
    )
  line_break = {'type': 'text', 'text': '\n'}
  return {**message, 'content': [*content, line_break, *content]}
