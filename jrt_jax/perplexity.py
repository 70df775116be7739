r"""Splits the held-out loss of runs by recall, rarity and distance.

python -m jrt_jax.perplexity --workdir=runs/jrt_360m,runs/based_360m \
    --out=perplexity.json

All runs read the same windows of text, which the first run has held out or
which --input gives. The first half of a window is the prompt, with its prefix;
the last half is read causally and scored. A recall hit is a next token that
ends a pair of tokens which has occurred before in the window and which occurs
less than --rare times in the training data. By default pairs are as rare as in
the paper (1,000 in 20 billion tokens): in less than 30 million tokens these are
pairs that do not occur at all. Losses are in nats per token, with 95 %
intervals over windows. Several runs are compared window by window. --out is
written after each run.

Exit codes: 0 at the end, 1 if memory ran out, 2 for a mistake in the command,
130 after Ctrl-C.
"""

import os
import pathlib

from absl import app
from absl import flags

from jrt_jax import command_line
from jrt_jax import generation
from jrt_jax.command_line import evaluation_text
from jrt_jax.command_line import text_flags
from jrt_jax.data import bigrams
from jrt_jax.data import recallable_tokens
from jrt_jax.evaluation import perplexity
from jrt_jax.evaluation import window_losses
from jrt_jax.reporting import provenance
from jrt_jax.training import recorded_config

_WORKDIR = flags.DEFINE_list(
    'workdir', [], 'The workdir of a run, or of several, comma-separated.'
)
_TOKENIZER = command_line.define_tokenizer()
_INPUT = evaluation_text.define_input('the first run')
_COUNTS = flags.DEFINE_string(
    'counts',
    None,
    'Files in which pairs are counted, given as for --input. Default: the'
    ' training data of the first run.',
)
_TEXT_KEY = text_flags.define_text_key()
_OUT = flags.DEFINE_string('out', None, 'The .json file for the result.')
_WINDOWS = flags.DEFINE_integer(
    'windows',
    512,
    'How many windows are read, evenly spread over the text.',
    lower_bound=2,
)
_LENGTH = flags.DEFINE_integer(
    'length',
    None,
    'Tokens of a window; default: the sequence length of training (the'
    ' shortest, if runs differ).',
    lower_bound=4,
)
_RARE = flags.DEFINE_integer(
    'rare',
    None,
    'Pairs of recall hits occur less often than this in the training data.'
    " Default: the paper's share of the counted tokens, and at least 1.",
    lower_bound=1,
)
_BATCH_SIZE = command_line.define_batch_size('windows are read')
command_line.define_compilation_cache()


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors(out_of_memory='lower --batch_size'):
    command_line.required(_WORKDIR, 'DIR or --workdir=DIR,DIR')
    out = command_line.output_file(_OUT)
    command_line.use_compilation_cache()
    for result in _measure(_models()):
      provenance.write_json(out, result)
    _show(result, out)


def _models():
  """The models of the runs, by the names (or paths) of their folders."""
  folders = _WORKDIR.value
  if len({*map(os.path.realpath, folders)}) < len(folders):
    raise ValueError(f'--workdir must be different runs, got {folders}')
  names = [pathlib.Path(folder).name for folder in folders]
  if len({*names}) < len(names):
    names = folders
  models = [generation.load(x, tokenizer=_TOKENIZER.value) for x in folders]
  tokenizers = {model.tokenizer.fingerprint for model in models}
  if len(tokenizers) > 1:
    raise ValueError(
        '--workdir must be runs of one tokenizer, because losses are per'
        f' token, got {", ".join(sorted(tokenizers))}'
    )
  return dict(zip(names, models))


def _measure(models):
  """Yields the results so far, after each model."""
  first, *_ = models.values()
  length = _LENGTH.value or min(
      model.config['sequence_length'] for model in models.values()
  )
  # What is scored, and the text in which pairs are counted.
  texts = evaluation_text.streams(
      first, {'validation': _INPUT, 'train': _COUNTS}, text_key=_TEXT_KEY.value
  )
  held_out, train = texts['validation'], texts['train']
  windows = window_losses.cut(held_out, length, _WINDOWS.value)
  about = {
      'command': provenance.command('jrt_jax.perplexity'),
      **provenance.describe(on_jax=True),
      'text': _INPUT.value or held_out.fingerprint,
      'counted': _COUNTS.value or train.fingerprint,
      'counted_tokens': len(train),
  }
  results = perplexity.measure(
      models,
      windows,
      bigrams.count(train, recallable_tokens.pairs(windows)),
      rare=_RARE.value or perplexity.rare(len(train)),
      batch_size=_BATCH_SIZE.value,
  )
  runs = {}
  for (name, x), folder, result in zip(models.items(), _WORKDIR.value, results):
    runs[name] = {
        'workdir': folder,
        'step': x.step,
        'fingerprint': x.fingerprint,
        **recorded_config.identity(x.config),
    }
    yield {'runs': runs, **about, **result}


def _show(result, out):
  print(
      f'{result["windows"]:,} windows of {result["length"]:,} tokens; pairs'
      f' counted in {result["counted_tokens"]:,} tokens'
  )
  if (share := result['rare_share']) is not None:
    print(
        f'{share:.1%} of the tokens that end a repeated pair are recall hits'
        f' (< {result["rare"]:,} counts)'
    )
  print('losses in nats per token [95 % interval over windows]\n')
  print(perplexity.table(result))
  print(f'wrote {out}')


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
