"""Just Read Twice: recurrent language models that read a prompt twice, in JAX.

>>> import jrt_jax
>>> lm = jrt_jax.load('builtin:jrt_2m')
>>> lm.generate('My fellow Americans,', max_tokens=6)
' we must help us. We'

`help(jrt_jax.TextModel)` describes what `lm` can do, and `python -m jrt_jax`
lists the commands. `jrt_jax.prompting` makes prompts that are read twice, for
any model.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors: at run time the import is lazy
  from jrt_jax.api import DocumentMemory as DocumentMemory
  from jrt_jax.api import load as load
  from jrt_jax.api import Score as Score
  from jrt_jax.api import State as State
  from jrt_jax.api import TextModel as TextModel

__version__ = '0.1.0'

_API = ('DocumentMemory', 'Score', 'State', 'TextModel', 'load')


def __getattr__(name):
  if name not in _API:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module('jrt_jax.api'), name)


def __dir__():
  return sorted([*globals(), *_API])
