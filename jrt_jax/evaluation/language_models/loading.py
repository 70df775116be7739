"""Finds the model that a text like 'hf:gpt2' names."""

import importlib
import inspect
from typing import Any

from jrt_jax.evaluation.language_models.protocol import LanguageModel

# The modules whose `load` takes what follows the colon, or the whole URL. Those
# of extras are imported only when they are asked for.
KINDS = {
    'workdir': 'jrt',
    'hf': 'hugging_face',
    'http': 'server',
    'https': 'server',
    'python': 'function',
}
_FORMS = (
    'workdir:DIR, hf:NAME_OR_DIR, http://HOST:PORT/v1 or'
    ' python:package.module:attribute'
)


def load(spec: str, **options: Any) -> LanguageModel:
  """Returns the model that a text names.

  Args:
    spec: 'workdir:DIR' is a run of this package, 'hf:NAME_OR_DIR' a causal
      model of Hugging Face transformers (or a .gguf file), 'http://HOST:PORT/v1'
      an OpenAI-compatible server, 'python:package.module:attribute' a function
      from a prompt to its continuation.
    **options: see `load` of the modules of this package; None is the default.

  Raises:
    FileNotFoundError, ValueError: there is no such model, it cannot be read, or
      it has no such option.
  """
  kind, colon, place = spec.partition(':')
  if kind not in KINDS or not colon or not place:
    raise ValueError(f'the model must be {_FORMS}, got {spec!r}')
  try:
    module = importlib.import_module(f'{__package__}.{KINDS[kind]}')
  except ImportError as error:
    raise ValueError(
        f"{spec} needs torch and transformers: pip install -e '.[hf]' ({error})"
    ) from error
  given = {name: x for name, x in options.items() if x is not None}
  known = [*inspect.signature(module.load).parameters][1:]
  if unknown := given.keys() - {*known}:
    raise ValueError(
        f'{kind}:… takes the options {", ".join(known)}, got'
        f' {", ".join(sorted(unknown))}'
    )
  return module.load(spec if KINDS[kind] == 'server' else place, **given)
