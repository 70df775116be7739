"""Texts and chats, read twice as they are.

Where context and question are known apart, `templates.jrt_prompt` makes a
better prompt of them: it asks first, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]  # 'role', 'content' and whatever a server takes
Prompt = str | Sequence[Message]


def read_twice(
    prompt: Prompt | Sequence[Prompt], *, at: int | None = None
) -> Any:
  """Returns prompts that are read twice: as they are, a line break, and again.

  Of a chat one message is read twice, where it stands; the others stay as they
  are, and so do the messages that are given.

  >>> read_twice('Bob has a dog. Bob has a')
  'Bob has a dog. Bob has a\\nBob has a dog. Bob has a'
  >>> read_twice([{'role': 'user', 'content': 'Who has a dog?'}])
  [{'role': 'user', 'content': 'Who has a dog?\\nWho has a dog?'}]

  Args:
    prompt: a text; or a chat, messages as OpenAI's, of which the content is a
      text or a list of parts (all of which are read again, images too);
      or a list of either, for which a list is returned.
    at: which message of a chat, an index. None: the last of the user.

  Raises:
    ValueError: a chat has no such message, or that has no content; or it is
      neither a text nor a chat.

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
  """Where the message is that is read twice."""
  if at is None:
    of_user = (i for i, x in enumerate(chat) if x.get('role') == 'user')
    if (last := max(of_user, default=None)) is None:
      raise ValueError(
          "a chat must have a message of role 'user', or at= must say which"
          f' is read twice, got roles {[x.get("role") for x in chat]}'
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
        'a message that is read twice must have a text or a list of parts as'
        f' content, got {content!r}'
    )
  line_break = {'type': 'text', 'text': '\n'}
  return {**message, 'content': [*content, line_break, *content]}
