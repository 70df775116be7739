r"""Scores prompts with prefixes of many lengths, for policies to learn from.

python -m jrt_jax.prefix_trials --workdir=runs/jrt_tiny --out=trials.npz
python -m jrt_jax.prefix.learn --trials=trials.npz --cost=0.01 --out=policy.json

Prompts are pieces of documents, from the held-out data of the run or from
--input; their answers are the tokens that follow. The model reads each prompt
with several fractions of it as prefix. The score is a mean log-probability, in
nats, over the tokens of the answer that end a rare pair of tokens which has
occurred before in the document (--answers=all: over all tokens). The model
should have been trained with config.prefix.name=uniform, so that it knows
prefixes of all these lengths.

Exit codes: 0 at the end, 1 if memory ran out, 2 for a mistake in the command,
130 after Ctrl-C.
"""

from absl import app
from absl import flags
import numpy as np

from jrt_jax import command_line
from jrt_jax import generation
from jrt_jax.command_line import evaluation_text
from jrt_jax.command_line import text_flags
from jrt_jax.evaluation import prefix_trials
from jrt_jax.prefix.learned import simulation
from jrt_jax.prefix.learned import trials
from jrt_jax.reporting import tables

_WORKDIR = command_line.define_workdir()
_TOKENIZER = command_line.define_tokenizer()
_INPUT = evaluation_text.define_input('the run')
_TEXT_KEY = text_flags.define_text_key()
_OUT = flags.DEFINE_string('out', None, 'The .npz file for the trials.')
_NUM_PROMPTS = flags.DEFINE_integer(
    'num_prompts',
    512,
    'How many prompts are cut, evenly spread over the text; prompts without'
    ' scored tokens are left out.',
    lower_bound=2,
)
_ANSWERS = flags.DEFINE_enum(
    'answers',
    'recall',
    sorted(prefix_trials.ANSWERS),
    'Which tokens of an answer are scored.',
)
_ANSWER_TOKENS = flags.DEFINE_integer(
    'answer_tokens', 64, 'The number of tokens of an answer.', lower_bound=1
)
_FRACTIONS = flags.DEFINE_list(
    'fractions',
    None,
    'The fractions of a prompt that are tried as prefix, ascending. Default: 0,'
    ' 1/8, 1/4, 1/2, 3/4 and 1 times the longest prefix of training.',
)
_BATCH_SIZE = command_line.define_batch_size('prompts are read')
command_line.define_compilation_cache()


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors(out_of_memory='lower --batch_size'):
    workdir = command_line.required(_WORKDIR, 'DIR')
    out = command_line.output_file(_OUT)
    command_line.use_compilation_cache()
    model = generation.load(workdir, tokenizer=_TOKENIZER.value)
    _collect(model, _fractions(model), out)


def _collect(model, fractions, out):
  texts = evaluation_text.streams(
      model, {'validation': _INPUT}, text_key=_TEXT_KEY.value
  )
  prompts = prefix_trials.cut(
      texts['validation'],
      length=model.config['sequence_length'],
      answer_tokens=_ANSWER_TOKENS.value,
      count=_NUM_PROMPTS.value,
      eos_id=model.tokenizer.eos_id,
      answers=_ANSWERS.value,
  )
  table = trials.collect(
      [prompt.tokens for prompt in prompts],
      fractions,
      prefix_trials.scorer(model, prompts, batch_size=_BATCH_SIZE.value),
      batch_size=_BATCH_SIZE.value,
      sequence_length=model.config['sequence_length'],
  )
  trials.save(out, table, model.tokenizer.fingerprint)
  print(_summary(table, prompts, out))


def _fractions(model):
  """The fractions: --fractions, or a few up to the longest of training."""
  longest = model.prefix_capacity / model.config['sequence_length']
  if not longest and _FRACTIONS.value is None:
    raise ValueError(
        '--fractions must be given for a run that was trained without prefixes,'
        ' got none'
    )
  given = _FRACTIONS.value or longest * np.array(simulation.FRACTIONS)
  try:
    fractions = np.array([float(x) for x in given])
  except ValueError as error:
    raise ValueError(f'--fractions must be numbers: {error}') from error
  trials.check_fractions('--fractions', fractions)
  return fractions


def _summary(table, prompts, out):
  counted = sum(int(prompt.counts.sum()) for prompt in prompts)
  rows = [('prefix', 'score', 'ms')]
  for fraction, score, seconds in zip(
      table.fractions, table.scores.mean(axis=0), table.seconds
  ):
    ms = '-' if np.isnan(seconds) else f'{1000 * seconds:.1f}'
    rows.append((f'{fraction:.3f}', f'{score:.4f}', ms))
  return (
      f'{len(prompts):,} prompts of at most {max(map(len, table.prompts)):,}'
      f' tokens; {counted:,} tokens of answers are scored\n'
      f'{tables.aligned(rows, ">")}\n'
      f'wrote {out}; learn from it: python -m jrt_jax.prefix.learn'
      f' --trials={out} --cost=0.01 --out=policy.json'
  )


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
