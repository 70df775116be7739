r"""Continues text with a trained model.

python -m jrt_jax.generate --workdir=runs/jrt_tiny --prompt='def main('
python -m jrt_jax.generate --workdir=runs/jrt_tiny --file=a.py --interactive

Several --prompt are continued at once. Tokens are drawn; --temperature=0 takes
the likeliest. A terminal shows each prompt before its continuation, and control
characters spelled out; a pipe gets the continuations only, as they are.

With --save_state the memory of what was read is kept in a file, whose size does
not depend on how much that was, and --load_state continues from it. Exit codes:
0 at the end, 1 if memory did not suffice, 2 for a mistake in the command, 130
after Ctrl-C.
"""

import pathlib
import sys

from absl import app
from absl import flags
import tqdm

from jrt_jax import command_line
from jrt_jax import generation
from jrt_jax.generation import long_prompts
from jrt_jax.generation import prefill
from jrt_jax.generation import state_file
from jrt_jax.models import decode
from jrt_jax.models import sampling as sampling_lib
from jrt_jax.prefix import short_prompts
from jrt_jax.reporting import terminal
from jrt_jax.runtime import compilation_cache

_WORKDIR = flags.DEFINE_string('workdir', None, 'Of the run whose model it is.')
_TOKENIZER = flags.DEFINE_string(
    'tokenizer', None, 'Where its tokenizer.json is now, if not as in training.'
)
_PROMPT = flags.DEFINE_multi_string('prompt', [], 'A text to continue.')
_FILE = flags.DEFINE_string(
    'file', None, 'A text to continue; read before the first turn if there are.'
)
_INTERACTIVE = flags.DEFINE_bool(
    'interactive', False, 'Read turns, a line each, until the end of input.'
)
_MAX_TOKENS = flags.DEFINE_integer(
    'max_tokens', 256, 'A continuation has at most so many; 0 only reads.'
)
_STOP = flags.DEFINE_multi_string(
    'stop', [], 'A text before which a continuation ends.'
)
_TEMPERATURE = flags.DEFINE_float(
    'temperature',
    sampling_lib.FOR_TEXT.temperature,
    'Divides the logits; 0 takes the likeliest token.',
)
_TOP_K = flags.DEFINE_integer(
    'top_k', 0, 'Draw among so many of the likeliest tokens; 0: all.'
)
_TOP_P = flags.DEFINE_float(
    'top_p',
    1.0,
    'Draw among the likeliest that have this probability together.',
)
_REPETITION_PENALTY = flags.DEFINE_float(
    'repetition_penalty', 1.0, 'Makes what has occurred less likely; 1: not.'
)
_SEED = flags.DEFINE_integer('seed', 0, 'Of draws; each prompt has the next.')
_SHORT_PROMPT = flags.DEFINE_string(
    'short_prompt',
    None,
    'How a prompt shorter than the prefix is read:'
    f" {', '.join(short_prompts.SHORT_PROMPTS)}; default: trim, or as the"
    ' released models.',
)
_ITERATE_EVERY = flags.DEFINE_integer(
    'iterate_every',
    1,
    'After so many tokens --short_prompt=iterate reads anew.',
)
_LONG_PROMPT = flags.DEFINE_string(
    'long_prompt',
    'head',
    'Which part of a longer prompt is prefix:'
    f" {', '.join(long_prompts.LONG_PROMPTS)}.",
)
_TURN = flags.DEFINE_string(
    'turn',
    'turn_blocks',
    f"How a later turn is read: {', '.join(long_prompts.TURNS)}.",
)
_SAVE_STATE = flags.DEFINE_string(
    'save_state', None, 'Where the memory of the prompts is kept.'
)
_LOAD_STATE = flags.DEFINE_string(
    'load_state',
    None,
    'What --save_state has written: read before the prompts.',
)
_COMPILATION_CACHE = command_line.define_compilation_cache()


def main(argv: list[str]) -> None:
  del argv
  with (
      command_line.one_line_failures(advice='give fewer prompts at once'),
      command_line.one_line_errors(),
  ):
    prompts = _prompts()
    settings = _settings()
    if not _WORKDIR.value:
      raise ValueError('--workdir=DIR must be given')
    if _SAVE_STATE.value:
      command_line.output_file('--save_state', _SAVE_STATE.value)
    if _COMPILATION_CACHE.value:
      compilation_cache.turn_on()
    model = generation.load(_WORKDIR.value, tokenizer=_TOKENIZER.value)
    after = None
    if _LOAD_STATE.value:
      with command_line.reading('--load_state'):
        after = state_file.load(_LOAD_STATE.value, model)
    if _INTERACTIVE.value:
      _talk(model, settings, prompts, after)
    else:
      _continue(model, settings, prompts, after)


def _prompts():
  """The prompts that the flags give; none only where turns follow."""
  given = [*_PROMPT.value]
  if _FILE.value:
    if given:
      raise ValueError('--file must not be given beside --prompt')
    with command_line.reading('--file'):
      text = pathlib.Path(_FILE.value).read_bytes()
    given = [text.decode(errors='replace')]
  if not given and not _INTERACTIVE.value:
    raise ValueError('--prompt, --file or --interactive must be given')
  if len(given) > 1 and _INTERACTIVE.value:
    raise ValueError('--interactive takes one --prompt, got several')
  return given


def _settings():
  sampling = generation.Sampling(
      temperature=_TEMPERATURE.value,
      top_k=_TOP_K.value,
      top_p=_TOP_P.value,
      repetition_penalty=_REPETITION_PENALTY.value,
  )
  return generation.GenerationSettings(
      sampling=sampling,
      max_tokens=_MAX_TOKENS.value,
      stop=tuple(_STOP.value),
      seed=_SEED.value,
      short_prompt=_SHORT_PROMPT.value,
      iterate_every=_ITERATE_EVERY.value,
      long_prompt=_LONG_PROMPT.value,
  )


def _continue(model, settings, prompts, after):
  continuation = generation.Continuation(
      model, prompts, settings, after=after, turn=_TURN.value
  )
  if _SAVE_STATE.value:
    _save(model, continuation)
  if len(prompts) == 1:
    terminal.echo(prompts[0])
    _stream(continuation)
  else:
    _draw_all(continuation)
    for b, completion in enumerate(continuation.completions):
      print(f'--- prompt {b + 1} of {len(prompts)}')
      terminal.echo(prompts[b])
      terminal.write(completion.text + '\n')
  _tell(model, continuation)


def _talk(model, settings, prompts, after):
  """Turns, each of them streamed; --prompt or --file comes before the first."""
  conversation = generation.Conversation(
      model, settings, turn=_TURN.value, after=after
  )
  for i, turn in enumerate(_turns(prompts)):
    continuation = conversation.say(turn)
    if _SAVE_STATE.value:
      _save(model, continuation)
    if i < len(prompts):  # what is typed is on the terminal
      terminal.echo(turn)
    _stream(continuation)
    _tell(model, continuation)


def _save(model, continuation):
  path = command_line.output_file('--save_state', _SAVE_STATE.value)
  state_file.save(path, model, continuation.decode_state)
  print(f'[wrote {path}]', file=sys.stderr)


def _turns(prompts):
  yield from prompts
  while True:
    print('> ', end='', file=sys.stderr, flush=True)
    if not (line := sys.stdin.readline()):
      return
    if line.strip():
      yield line


def _stream(continuation):
  for (text,) in continuation:
    terminal.write(text)
  terminal.write('\n')


def _draw_all(continuation):
  """Draws texts that are shown at the end; a terminal shows how far it is."""
  count = lambda: sum(len(x.tokens) for x in continuation.completions)
  with tqdm.tqdm(
      total=_MAX_TOKENS.value * len(continuation.prompts),
      desc='drawing',
      unit='tok',
      delay=1,
      leave=False,
      disable=None,
  ) as bar:
    while not continuation.ended:
      continuation.advance(decode.MOST)
      bar.update(count() - bar.n)


def _tell(model, continuation):
  """What it took: on stderr, so that stdout is text only."""
  completions = continuation.completions
  count = [len(tokens) for tokens in continuation.prompts]
  drawn = sum(len(completion.tokens) for completion in completions)
  lines = [
      f'read {sum(count):,} tokens in {continuation.read_seconds:.1f} s with'
      f' compilation, {continuation.prefix_tokens:,} in a prefix'
      f' (of {model.prefix_capacity:,} at most)',
  ]
  pace = continuation.tokens_per_second
  speed = f', {pace:,.0f} tokens/s' if pace else ''
  lines.append(f'drew {drawn:,} tokens{speed}')
  size = prefill.state_bytes(continuation.decode_state)
  lines.append(f'state {size:,} bytes a prompt')
  print(f"[{'; '.join(lines)}]", file=sys.stderr)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
