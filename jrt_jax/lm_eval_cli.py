r"""The command line of lm-evaluation-harness, with --model jrt_jax added.

python -m jrt_jax.lm_eval_cli --model jrt_jax \
  --model_args workdir=runs/jrt_tiny --tasks lambada_openai --limit 100

It needs the package lm_eval: pip install -e '.[eval]', in the folder of
jrt_jax. --model_args takes the arguments of `lm_eval_model.JrtJax`:
workdir=DIR, tokenizer=FILE, short_prompt=NAME, long_prompt=NAME,
chat_template=FILE and check_leaks=True. All other options are those of the
harness. `!function` in a task file runs code of a Python file beside it: do not
evaluate a task whose code you would not run. JAX_ENABLE_COMPILATION_CACHE=false
turns off the cache of compiled programs.
"""

import importlib
import sys

from jrt_jax import command_line
from jrt_jax.runtime import compilation_cache


def main() -> None:
  wants_help = not {'-h', '--help'}.isdisjoint(sys.argv)
  if wants_help:
    print(__doc__, flush=True)
  try:
    lm_eval = importlib.import_module('lm_eval.__main__')  # an extra
    harness = importlib.import_module('jrt_jax.evaluation.harness')
    importlib.import_module('jrt_jax.evaluation.lm_eval_model')  # registers it
  except ImportError as error:
    if wants_help:
      return
    raise ValueError(
        "evaluation needs the package lm_eval: pip install -e '.[eval]'"
    ) from error
  harness.prepare_process()
  compilation_cache.turn_on()
  lm_eval.setup_logging()
  cli = lm_eval.HarnessCLI()
  arguments = cli.parse_args()
  model_args = getattr(arguments, 'model_args', None) or {}
  # The harness names the folder in --output_path after this argument.
  if 'workdir' in model_args and 'pretrained' not in model_args:
    model_args['pretrained'] = model_args.pop('workdir')
  try:
    cli.execute(arguments)
  except TypeError as error:
    if 'JrtJax.__init__' not in str(error):
      raise
    raise ValueError(f'--model_args: {error}') from error


if __name__ == '__main__':
  with command_line.one_line_errors():
    main()
