import contextlib
import io

import pytest

from jrt_jax.reporting import terminal
from jrt_jax.reporting.terminal import printable


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('\x1b]0;owned\x07', r'\x1b]0;owned\x07'),
        ('a\r\x08\x00\x7fb', r'a\r\x08\x00\x7fb'),
        ('\x9b2J', r'\x9b2J'),  # a whole sequence starts with one character
        ('pay \u202eot\u2066', r'pay \u202eot\u2066'),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text, shown):
  assert printable(text) == shown


@pytest.mark.parametrize(
    'text',
    [
        '',
        'a\n\tb',
        'naïve → 你好',
        'שלום',
        '👩\u200d🔬',
        'می\u200cخواهم',
        r'\x1b',
    ],
)
def test_other_text_is_shown_as_it_is(text):
  assert printable(text) == text


def shown(show, text, *, on_terminal):
  stdout = io.StringIO()
  stdout.isatty = lambda: on_terminal
  with contextlib.redirect_stdout(stdout):
    show(text)
  return stdout.getvalue()


def test_a_pipe_gets_text_as_it_is():
  text = '\x1b[31m red'
  assert shown(terminal.write, text, on_terminal=False) == text
  assert shown(terminal.write, text, on_terminal=True) == r'\x1b[31m red'


@pytest.mark.parametrize(
    ('prompt', 'echoed'),
    [('a\x07', r'a\x07'), ('b' + 'c' * 1000, '…' + 'c' * 1000)],
)
def test_only_a_terminal_shows_the_end_of_the_prompt(prompt, echoed):
  assert shown(terminal.echo, prompt, on_terminal=True) == echoed
  assert not shown(terminal.echo, prompt, on_terminal=False)
