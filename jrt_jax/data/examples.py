"""How a window of text, or a sample of a task, becomes a training example.

An example is a dict, for L positions:
  tokens: int32 [L], which the model reads.
  targets: int32 [L], the label of each position; 0 where there is none.
  supervision: int8 [L], which loss a label belongs to, see `objectives.py`.
  prefix_len: int32 [], the first tokens, which are prefix; int32 [N] if the
    prefix is several documents, see `documents_in_prefix.py`; or, with a packing
    that gives each document a prefix,
  prefix_mask: bool [L], which tokens are prefix of their own documents.
  segment_ids: int32 [L], the number of the document of each token; only with a
    packing that separates documents.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jrt_jax.data import documents_in_prefix
from jrt_jax.data import objectives
from jrt_jax.data import packings
from jrt_jax.data import vocabulary
from jrt_jax.data.synthetic import task as task_lib
from jrt_jax.prefix import policies


class Recipe(NamedTuple):
  """What all examples of a run share.

  Attributes:
    sequence_length: L, the tokens that the model reads in an example.
    objective: `config.objective`.
    prefix: `config.prefix`, as `fitting.fitted` returns it.
    num_ids: the number of ids of the tokenizer; other ids are an error.
    mask_id: the id of [MASK].
    eos_id: the id that ends a document; -1: none does.
    packing: `config.data.packing`, a key of `packings.PACKINGS`.
    repeat: `config.data.repeat`, the probability that a training example shows
      its first document twice.
    documents_in_prefix: `config.data.documents_in_prefix`.
  """

  sequence_length: int
  objective: Mapping[str, Any]
  prefix: Mapping[str, Any]
  num_ids: int
  mask_id: int
  eos_id: int = -1
  packing: str = 'concat'
  repeat: float = 0.0
  documents_in_prefix: int = 0

  @classmethod
  def of(
      cls, config: Mapping[str, Any], tokenizer: vocabulary.Tokenizer
  ) -> 'Recipe':
    """Returns the recipe of a config, whose prefix policy is fitted."""
    return cls(
        sequence_length=config['sequence_length'],
        objective=config['objective'],
        prefix=config['prefix'],
        num_ids=tokenizer.size,
        mask_id=config['model']['mask_id'],
        eos_id=tokenizer.eos_id,
        packing=config['data']['packing'],
        repeat=config['data']['repeat'],
        documents_in_prefix=config['data']['documents_in_prefix'],
    )

  def check(self) -> None:
    """Raises ValueError if the objective, the prefix and L do not fit."""
    L = self.sequence_length
    objectives.check(self.objective, self.prefix, L)
    policies.make(self.prefix, L)


def of_window(
    window: np.ndarray, recipe: Recipe, rng: np.random.Generator
) -> dict[str, np.ndarray]:
  """Returns a window of text, int [L + 1], as an example."""
  if recipe.repeat and rng.random() < recipe.repeat:
    window = packings.repeated(window, recipe.eos_id)
  packing = packings.PACKINGS[recipe.packing]
  packed = packing.divide(window, recipe.eos_id)
  made = [
      objectives.OBJECTIVES[recipe.objective['name']].make(
          piece.window,
          policies.of_document(piece.text, recipe.prefix, rng=rng),
          objective=recipe.objective,
          mask_id=recipe.mask_id,
          rng=rng,
      )
      for piece in packed.pieces
  ]
  example = _joined(made) if packing.prefix_of_each else made[0]
  example = packings.separate(example, packed.segment_ids)
  return documents_in_prefix.divide(example, recipe.documents_in_prefix, rng)


def _joined(examples):
  """Returns the examples of all documents as one."""
  prefixes = [
      np.arange(len(x['tokens'])) < x.pop('prefix_len') for x in examples
  ]
  names = examples[0].keys()
  joined = {name: np.concatenate([x[name] for x in examples]) for name in names}
  return {**joined, 'prefix_mask': np.concatenate(prefixes)}


def of_sample(
    sample: task_lib.Sample, recipe: Recipe, rng: np.random.Generator
) -> dict[str, np.ndarray]:
  """Returns a sample of a synthetic task as an example, padded with 0.

  Only answers have labels, as next tokens. The policy sees the prompt: with
  'full' all of it is prefix, with 'fixed' as much as there is room for. The
  objective may mask tokens of the prefix, but not at positions of answers.

  Args:
    sample: a sample of at most L tokens.
    recipe: what all examples share.
    rng: the generator of this example.
  """
  policy = policies.make(recipe.prefix, recipe.sequence_length)
  prefix_len = policy(sample.tokens[: sample.prompt_len], rng=rng)
  answered = sample.targets != task_lib.NO_ANSWER
  kind = np.where(answered, objectives.NEXT_TOKEN, objectives.UNSUPERVISED)
  fill = 0, recipe.sequence_length - len(sample.tokens)
  example = {
      'tokens': np.pad(sample.tokens, fill).astype(np.int32),
      'targets': np.pad(answered * sample.targets, fill).astype(np.int32),
      'supervision': np.pad(kind, fill).astype(np.int8),
      'prefix_len': np.int32(prefix_len),
  }
  if objectives.has_masks(recipe.objective):
    objectives.mask(
        example,
        np.flatnonzero(~answered[:prefix_len]),
        objective=recipe.objective,
        mask_id=recipe.mask_id,
        rng=rng,
    )
  return documents_in_prefix.divide(example, recipe.documents_in_prefix, rng)


def check_of_task(
    source: str, *, prefix: Mapping[str, Any], packing: str, repeat: float
) -> None:
  """Raises ValueError for settings that a synthetic task cannot have.

  Args:
    source: the name of the task.
    prefix, packing, repeat: see `Recipe`.
  """
  of_text = policies.fitted_names()
  others = [x for x in policies.PREFIX_POLICIES if x not in of_text]
  for key, value, allowed in (
      ('prefix.name', prefix['name'], others),
      ('data.packing', packing, ('concat',)),
      ('data.repeat', repeat, (0,)),
  ):
    if value not in allowed:
      raise ValueError(
          f'config.{key} must be {" or ".join(map(str, allowed))} with'
          f' config.data.source={source!r}, got {value!r}'
      )
