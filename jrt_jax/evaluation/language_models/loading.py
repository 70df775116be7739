"""Loads the model that a text such as 'hf:gpt2' names."""

from collections.abc import Iterable
import importlib
import inspect
import typing
from typing import Any

from jrt_jax.evaluation.language_models.protocol import LanguageModel

# Modules whose `load` takes the text after the colon, or the whole URL. Modules
# that need extras are imported only when they are used.
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
      model of Hugging Face transformers (or a .gguf file),
      'http://HOST:PORT/v1' an OpenAI-compatible server,
      'python:package.module:attribute' a function from a prompt to its
      continuation.
    **options: see `load` of the modules of this package; None means the
      default.

  Raises:
    FileNotFoundError, ValueError: there is no such model, it cannot be read, or
      it has no such option.
  """
  kind, module = _find(spec)
  given = {name: x for name, x in options.items() if x is not None}
  _check_names(kind, module, given)
  place = spec.partition(':')[2]
  return module.load(spec if KINDS[kind] == 'server' else place, **given)


def parse_options(spec: str, texts: Iterable[str]) -> dict[str, Any]:
  """Returns options for `load`, from texts such as 'dtype=bfloat16'.

  Args:
    spec: the model; its kind decides which options exist, and their types.
    texts: NAME=VALUE; booleans are true or false.

  Raises:
    ValueError: the model has no such option, or a value is wrong; for `spec`
      see `load`.
  """
  kind, module = _find(spec)
  found = dict(_divided(text) for text in texts)
  _check_names(kind, module, found)
  known = inspect.signature(module.load).parameters
  return {
      name: _parsed(name, text, known[name].annotation)
      for name, text in found.items()
  }


def _find(spec):
  """Returns the kind of a model and the module that loads it."""
  kind, colon, place = spec.partition(':')
  if kind not in KINDS or not colon or not place:
    raise ValueError(f'the model must be {_FORMS}, got {spec!r}')
  try:
    return kind, importlib.import_module(f'{__package__}.{KINDS[kind]}')
  except ImportError as error:
    raise ValueError(
        f"{spec} needs torch and transformers: pip install -e '.[hf]' ({error})"
    ) from error


def _check_names(kind, module, options):
  known = [*inspect.signature(module.load).parameters][1:]
  if unknown := options.keys() - {*known}:
    raise ValueError(
        f'{kind}:… takes the options {", ".join(known) or "(none)"}, got'
        f' {", ".join(sorted(unknown))}'
    )


def _divided(text):
  name, equals, value = text.partition('=')
  if not name or not equals or not value:
    raise ValueError(f'an option of a model must be NAME=VALUE, got {text!r}')
  return name, value


def _parsed(name, text, annotation):
  """Returns the value in (one of) the types of the parameter of `load`."""
  for kind, (what, parse) in _PARSERS.items():
    if kind in (annotation, *typing.get_args(annotation)):
      try:
        return parse(text)
      except (KeyError, ValueError) as error:
        raise ValueError(f'{name} must be {what}, got {text!r}') from error
  return text


_PARSERS = {
    bool: ('true or false', lambda text: _BOOLS[text.lower()]),
    int: ('a whole number', int),
    float: ('a number', float),
}
_BOOLS = {'true': True, 'false': False}
