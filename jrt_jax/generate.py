r"""Continues text with a trained model.

python -m jrt_jax.generate --workdir=runs/jrt_tiny --prompt='def main('
python -m jrt_jax.generate --workdir=runs/jrt_tiny --input=a.py --interactive

Several --prompt are continued as one batch. Tokens are sampled;
--temperature=0 takes the likeliest. A terminal shows each prompt before its
continuation, and control characters as text. A pipe gets the continuations
only, unchanged.

--save_state writes the state after the prompts to a file, and --load_state
continues from it. The size of the state does not depend on the length of the
prompts.

--read_documents reads files of text, each apart from the others, and the
prompts see all of them. --save_documents keeps what was read for later commands
with --documents; --without leaves some of them out.

Exit codes: 0 at the end, 1 if memory ran out, 2 for a mistake in the command,
130 after Ctrl-C.
"""

import pathlib
import sys

from absl import app
from absl import flags

from jrt_jax import command_line
from jrt_jax import generation
from jrt_jax.command_line import document_flags
from jrt_jax.generation import long_prompts
from jrt_jax.generation import prefill
from jrt_jax.generation import state_file
from jrt_jax.models import decode
from jrt_jax.models import sampling as sampling_lib
from jrt_jax.prefix import short_prompts
from jrt_jax.reporting import terminal
from jrt_jax.reporting.progress import progress_bar

_WORKDIR = command_line.define_workdir()
_TOKENIZER = command_line.define_tokenizer()
_PROMPT = flags.DEFINE_multi_string('prompt', [], 'A text to continue.')
_INPUT = flags.DEFINE_string(
    'input',
    None,
    'A file with the text to continue; --interactive reads it first.',
)
_INTERACTIVE = flags.DEFINE_bool(
    'interactive',
    False,
    'Read turns from the standard input, one a line, and answer each.',
)
_MAX_TOKENS = flags.DEFINE_integer(
    'max_tokens',
    256,
    'The most tokens of a continuation; 0 only reads the prompt.',
)
_STOP = flags.DEFINE_multi_string(
    'stop', [], 'A continuation ends before this text.'
)
_TEMPERATURE = flags.DEFINE_float(
    'temperature',
    sampling_lib.FOR_TEXT.temperature,
    'The logits are divided by it; 0 takes the likeliest token.',
)
_TOP_K = flags.DEFINE_integer(
    'top_k', 0, 'Sample among this many of the likeliest tokens; 0: all.'
)
_TOP_P = flags.DEFINE_float(
    'top_p',
    1.0,
    'Sample among the likeliest tokens whose probabilities add up to this.',
)
_REPETITION_PENALTY = flags.DEFINE_float(
    'repetition_penalty',
    1.0,
    'Values above 1 make tokens less likely that have occurred before.',
)
_SEED = flags.DEFINE_integer(
    'seed', 0, 'The seed of the first prompt; prompt i uses seed + i.'
)
_SHORT_PROMPT = flags.DEFINE_string(
    'short_prompt',
    None,
    'How a prompt shorter than the prefix is read:'
    f" {', '.join(short_prompts.SHORT_PROMPTS)}. Default: trim, or"
    ' left_pad_reference for models with model.pad_mask=reference.',
)
_ITERATE_EVERY = flags.DEFINE_integer(
    'iterate_every',
    1,
    'With --short_prompt=iterate: prompt and text are read again each time'
    ' this many tokens were generated.',
)
_LONG_PROMPT = flags.DEFINE_string(
    'long_prompt',
    'head',
    'Which part of a prompt longer than the prefix becomes prefix:'
    f" {', '.join(long_prompts.LONG_PROMPTS)}.",
)
_TURN = flags.DEFINE_string(
    'turn',
    None,
    'How turns after the first, and prompts after --load_state or documents,'
    f" are read: {', '.join(long_prompts.TURNS)}. Default: append_causal after"
    ' documents, else turn_blocks.',
)
_SAVE_STATE = flags.DEFINE_string(
    'save_state', None, 'The file to which the state is written.'
)
_LOAD_STATE = flags.DEFINE_string(
    'load_state',
    None,
    'A file that --save_state has written: generation starts from its state.',
)
_MESH_SEQUENCE = flags.DEFINE_integer(
    'mesh_sequence',
    1,
    'The number of devices that share the positions of each prompt, for prompts'
    ' that are too long for one.',
    lower_bound=1,
)
_DOCUMENTS = document_flags.define()
command_line.define_compilation_cache()


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors(out_of_memory='give fewer prompts at once'):
    prompts = _prompts()
    settings = _settings()
    if _DOCUMENTS.given and _LOAD_STATE.value:
      raise ValueError('--load_state must not be given together with documents')
    workdir = command_line.required(_WORKDIR, 'DIR')
    if _SAVE_STATE.value:
      command_line.output_file(_SAVE_STATE)
    command_line.use_compilation_cache()
    _DOCUMENTS.check()
    model = generation.load(
        workdir,
        tokenizer=_TOKENIZER.value,
        mesh_sequence=_MESH_SEQUENCE.value,
    )
    after = _read_before(model, prompts)
    if _INTERACTIVE.value:
      _talk(model, settings, prompts, after)
    elif prompts:
      _continue(model, settings, prompts, after)


def _read_before(model, prompts):
  """Returns the state that prompts follow; None if there is none."""
  if _DOCUMENTS.given:
    memory = _DOCUMENTS.memory(model)
    return memory.decode_state() if prompts or _INTERACTIVE.value else None
  if not _LOAD_STATE.value:
    return None
  with command_line.reading('--load_state'):
    return state_file.load(_LOAD_STATE.value, model)


def _turn():
  default = 'append_causal' if _DOCUMENTS.given else 'turn_blocks'
  return _TURN.value or default


def _prompts():
  """The prompts that the flags give.

  Without turns there is always one, unless documents are read to be saved.
  """
  given = [*_PROMPT.value]
  if _INPUT.value:
    if given:
      raise ValueError('--input must not be given together with --prompt')
    with command_line.reading('--input'):
      text = pathlib.Path(_INPUT.value).read_bytes()
    given = [text.decode(errors='replace')]
  if not (given or _INTERACTIVE.value or _DOCUMENTS.save.value):
    raise ValueError('--prompt, --input or --interactive must be given')
  if len(given) > 1 and _INTERACTIVE.value:
    raise ValueError('--interactive must have one --prompt, got several')
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
      model, prompts, settings, after=after, turn=_turn()
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
  """Streams an answer to each turn; --prompt or --input is the first turn."""
  conversation = generation.Conversation(
      model, settings, turn=_turn(), after=after
  )
  for i, turn in enumerate(_turns(prompts)):
    continuation = conversation.say(turn)
    if _SAVE_STATE.value:
      _save(model, continuation)
    if i < len(prompts):  # the terminal already shows what the user typed
      terminal.echo(turn)
    _stream(continuation)
    _tell(model, continuation)


def _save(model, continuation):
  path = command_line.output_file(_SAVE_STATE)
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
  """Generates texts that are shown at the end; a terminal shows progress."""
  count = lambda: sum(len(x.tokens) for x in continuation.completions)
  with progress_bar(
      total=_MAX_TOKENS.value * len(continuation.prompts),
      desc='generating',
      unit='tok',
      leave=False,
  ) as bar:
    while not continuation.ended:
      continuation.advance(decode.MAX_TOKENS)
      bar.update(count() - bar.n)


def _tell(model, continuation):
  """Prints tokens, speed and memory to stderr, so that stdout is text only."""
  completions = continuation.completions
  count = [len(tokens) for tokens in continuation.prompts]
  drawn = sum(len(completion.tokens) for completion in completions)
  lines = [
      f'read {sum(count):,} tokens in {continuation.read_seconds:.1f} s,'
      f' compilation included; prefix: {continuation.prefix_tokens:,} of at most'
      f' {model.prefix_capacity:,}',
  ]
  pace = continuation.tokens_per_second
  speed = f', {pace:,.0f} tokens/s' if pace else ''
  lines.append(f'generated {drawn:,} tokens{speed}')
  size = prefill.state_bytes(continuation.decode_state)
  lines.append(f'state: {size:,} bytes per prompt')
  print('[{}]'.format('\n '.join(lines)), file=sys.stderr)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
