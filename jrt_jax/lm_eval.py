r"""Evaluates a trained model on tasks of lm-evaluation-harness.

python -m jrt_jax.lm_eval --workdir=runs/jrt_tiny --tasks=jrt_fda,jrt_fda_twice
python -m jrt_jax.lm_eval --workdir=runs/jrt_tiny --tasks=my_task.yaml
python -m jrt_jax.lm_eval --tasks=list

It needs the package lm_eval (pip install -e '.[eval]'), but no torch. A task is
a name that lm_eval knows, a recall task (--tasks=list prints them), the name of
a task in --include_path, or a YAML file of a task; with `dataset_path: json`
and `data_files` the data of a task can be local. --metadata passes arguments to
tasks, for example --metadata='{"data_files": "rows/"}'.

`!function` in a task file runs code of a Python file beside it: do not evaluate
a task whose code you would not run. Only contexts can be prefix, never the
scored tokens. Exit codes: 0 at the end, 1 if memory ran out, 2 for a mistake in
the command, 130 after Ctrl-C.
"""

from absl import app
from absl import flags

from jrt_jax import command_line
from jrt_jax import foreign
from jrt_jax.generation import long_prompts
from jrt_jax.prefix import short_prompts

_WORKDIR = command_line.define_workdir()
_TOKENIZER = command_line.define_tokenizer()
_TASKS = flags.DEFINE_list(
    'tasks',
    [],
    'Names or YAML files of tasks (!function in them runs code); list prints'
    ' the recall tasks.',
)
_METADATA = flags.DEFINE_string(
    'metadata', '{}', 'Arguments for tasks, a JSON object.'
)
_INCLUDE_PATH = flags.DEFINE_string(
    'include_path',
    None,
    'A folder with further tasks (!function in them runs code).',
)
_NUM_FEWSHOT = flags.DEFINE_integer(
    'num_fewshot',
    None,
    'How many examples come before each question; default: the number of the'
    ' task.',
    lower_bound=0,
)
_LIMIT = command_line.define_limit()
_BATCH_SIZE = command_line.define_batch_size('contexts are read')
_SHORT_PROMPT = flags.DEFINE_enum(
    'short_prompt',
    None,
    sorted(short_prompts.SHORT_PROMPTS),
    'How a context shorter than the prefix is read. Default: trim, or'
    ' left_pad_reference for models with model.pad_mask=reference.',
)
_LONG_PROMPT = flags.DEFINE_enum(
    'long_prompt',
    'head',
    sorted(long_prompts.LONG_PROMPTS),
    'Which part of a context longer than the prefix becomes prefix.',
)
_CHECK_LEAKS = flags.DEFINE_bool(
    'check_leaks',
    False,
    'Also change the tokens after each context, and fail if earlier logits'
    ' change.',
)
_OUT = flags.DEFINE_string(
    'out', None, 'A JSON file for all results and examples.'
)
command_line.define_compilation_cache()


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors(out_of_memory='lower --batch_size'):
    if _TASKS.value == ['list']:
      print('\n'.join(_modules()[0].shipped()))
      return
    command_line.required(_WORKDIR, 'DIR')
    command_line.required(_TASKS, 'NAME,…')
    out = _OUT.value and command_line.output_file(_OUT)
    command_line.use_compilation_cache()
    _evaluate(out)


def _modules():
  try:
    from jrt_jax.evaluation import harness  # needs an extra
    from jrt_jax.evaluation import lm_eval_model
  except ImportError as error:
    raise ValueError(
        "evaluation needs the package lm_eval: pip install -e '.[eval]'"
    ) from error
  return harness, lm_eval_model


def _metadata():
  """The arguments of tasks; as in the harness, with those of the model."""
  given = foreign.parse_json(_METADATA.value, '--metadata', foreign.OBJECT)
  model = {'workdir': _WORKDIR.value, 'tokenizer': _TOKENIZER.value}
  return {**{k: x for k, x in model.items() if x}, **given}


def _evaluate(out):
  harness, lm_eval_model = _modules()
  metadata = _metadata()
  harness.prepare_process()
  model = lm_eval_model.JrtJax(
      _WORKDIR.value,
      tokenizer=_TOKENIZER.value,
      batch_size=_BATCH_SIZE.value,
      short_prompt=_SHORT_PROMPT.value,
      long_prompt=_LONG_PROMPT.value,
      check_leaks=_CHECK_LEAKS.value,
  )
  results = harness.evaluate(
      model,
      _TASKS.value,
      include_path=_INCLUDE_PATH.value,
      num_fewshot=_NUM_FEWSHOT.value,
      limit=_LIMIT.value,
      metadata=metadata,
  )
  print(harness.table(results))
  if out:
    origin = {'workdir': _WORKDIR.value, **model.origin}
    harness.save({'model': origin, **results}, out)
    print(f'wrote {out}')


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
