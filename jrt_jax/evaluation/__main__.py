r"""The command line of lm-evaluation-harness, which knows --model jrt_jax.

python -m jrt_jax.evaluation --model jrt_jax \
  --model_args workdir=runs/jrt_tiny --tasks lambada_openai --limit 100

--model_args takes what `lm_eval_model.JrtJax` takes; all other options are
those of the harness.
"""

import importlib

from jrt_jax import command_line
from jrt_jax import compilation_cache

if __name__ == '__main__':
  with command_line.one_line_errors():
    try:
      lm_eval = importlib.import_module('lm_eval.__main__')  # an extra
    except ImportError as error:
      raise ValueError(
          'evaluation needs the package lm_eval: pip install lm_eval'
      ) from error
    importlib.import_module('jrt_jax.evaluation.lm_eval_model')  # registers it
    compilation_cache.turn_on()
    lm_eval.cli_evaluate()
