"""A trained model, ready to generate."""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import dataclasses
import functools
import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
import numpy as np

from jrt_jax import cost
from jrt_jax import models
from jrt_jax.cost import layout
from jrt_jax.cost import mixers
from jrt_jax.generation import continued_text
from jrt_jax.models import parallel
from jrt_jax.prefix import policies
from jrt_jax.training import recorded_config

# Keys of config.model that change how a model is computed, not its results.
_HOW = ('implementation', 'remat')


@dataclasses.dataclass(frozen=True)
class Model:
  """Weights, and all that is needed to read and generate text with them.

  Attributes:
    config: the config of the run that trained it, nested dicts.
    params: the flat dict of weights.
    tokenizer: the tokenizer of its training data.
    step: the step of the run at which the weights were saved.
    implementation: the implementation of linear attention, a value of
      `config.model.implementation`; None: that of the config.
    mesh: the mesh that shares weights and batches; None: one device.
    merge: a function from weights to a `LanguageModel`.
  """

  config: Mapping[str, Any]
  params: Mapping[str, jax.Array]
  tokenizer: Any
  step: int = 0
  implementation: str | None = None
  mesh: jax.sharding.Mesh | None = None
  merge: Callable = dataclasses.field(init=False)

  def __post_init__(self):
    model = self.config['model']
    # We pad the rows of a batch: no model may see that padding.
    config = {
        **model,
        'pad_mask': 'exclude',
        'implementation': self.implementation or model['implementation'],
    }
    merge = _merge(json.dumps(config, sort_keys=True))
    object.__setattr__(self, 'merge', merge)

  @property
  def prefix_capacity(self) -> int:
    """M, the longest prefix in training."""
    return _longest_prefix(self.config)

  def prefix_len(self, prompt: np.ndarray) -> int:
    """Returns how many tokens of a prompt, int32 [n], the run makes prefix."""
    config = self.config
    return policies.of_prompt(
        prompt, config['prefix'], config['sequence_length']
    )

  @property
  def parts(self) -> int:
    """The number of devices that share the positions of a row."""
    return self.mesh.shape['sequence'] if self.mesh else 1

  @property
  def block(self) -> int:
    """The number of tokens of a row that are read at once, by all `parts`."""
    return self.parts * tokens_at_once(self.config)

  @property
  def pad_id(self) -> int:
    """The id that pads short prompts: a space, if that is a token."""
    return int(next(iter(self.tokenizer.encode(' ')), 0))

  @functools.cached_property
  def served(self) -> dict[str, jax.Array]:
    """The weights as they are used for inference; see `as_served`.

    They are committed to their devices, and so is all that is computed from
    them: jax would compile again for uncommitted arrays.
    """
    weights = as_served(self.config['model'], self.params)
    with self.on_mesh():
      return {
          name: jax.device_put(x, self._place(name, x))
          for name, x in weights.items()
      }

  @property
  def replicas(self) -> int:
    """The number of devices (or groups) that share the rows of a batch."""
    return layout.num_replicas(self.mesh.shape) if self.mesh else 1

  def on_mesh(self) -> contextlib.AbstractContextManager:
    """The context in which everything with the weights must be computed."""
    return jax.set_mesh(self.mesh) if self.mesh else contextlib.nullcontext()

  def commit(
      self, tree: Any, axes: Sequence[Sequence[str] | None] = layout.ROWS
  ) -> Any:
    """Commits arrays to their devices, sharded as `parallel.spec` says."""
    if not self.mesh:
      return jax.device_put(tree, next(iter(self.served.values())).sharding)
    with self.on_mesh():
      return jax.tree.map(
          lambda x: jax.device_put(
              x, NamedSharding(self.mesh, parallel.spec(x.shape, axes))
          ),
          tree,
      )

  def _place(self, name, x):
    if not self.mesh:
      return x.sharding
    # The rounded rows of the embedding are sharded like the embedding.
    known = self._weights.get(name, self._weights['embedding.embedding'])
    axes = [axis and (axis,) for axis in known.axes]
    return NamedSharding(self.mesh, parallel.spec(x.shape, axes))

  @functools.cached_property
  def _weights(self):
    return cost.weights(self.config['model'])

  @property
  def grows(self) -> bool:
    """Whether the state grows with the number of tokens."""
    return mixers.state_grows(self.config['model'])

  @functools.cached_property
  def ids_of(self) -> dict[str, np.ndarray]:
    """For each character the ids whose texts contain it, int [n]."""
    return continued_text.characters(self.tokenizer)

  @functools.cached_property
  def fingerprint(self) -> str:
    """A digest that differs between models with different outputs."""
    digest = hashlib.sha256(self.tokenizer.fingerprint.encode())
    changes = recorded_config.model_changes(self.config['model'])
    what = {key: changes[key] for key in changes if key not in _HOW}
    digest.update(json.dumps(what).encode())
    for name in sorted(self.served):
      digest.update(name.encode())
      digest.update(np.ascontiguousarray(self.served[name]).view(np.uint8).data)
    return digest.hexdigest()[:16]

  def encode(self, prompt: str | np.ndarray) -> np.ndarray:
    """Returns the ids of a text, int32 [n], or checks given ids.

    Raises:
      ValueError: there is no token, or the tokenizer does not have an id.
    """
    ids = self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
    ids = np.asarray(ids)
    if not ids.size:
      raise ValueError('a prompt must hold at least one token, got none')
    size = self.tokenizer.size
    wrong = ids[(ids < 0) | (ids >= size)]
    if wrong.size:
      raise ValueError(
          f'token ids of a prompt must lie in [0, {size}), got {wrong[0]}'
      )
    return ids.astype(np.int32)

  def context(self, ids: Sequence[int]) -> np.ndarray:
    """Returns at least one id to read, int32 [n].

    If there are none, it is the id that ends a document, as before a new one.
    """
    return np.array([*ids] or [self.tokenizer.eos_id], np.int32)


def tokens_at_once(config: Mapping[str, Any]) -> int:
  """Returns how many tokens of a row a device reads at once."""
  return _longest_prefix(config) or min(config['sequence_length'], 1024)


def _longest_prefix(config):
  return policies.longest_prefix(config['prefix'], config['sequence_length'])


def as_served(
    config: Mapping[str, Any], params: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
  """Returns weights for inference.

  Kernels and biases have the dtype of activations. Layers would round them to
  it anyway, and a bfloat16 model then reads half as many bytes for each token.
  The embedding table is stored twice: for the look-up of rows, and for the last
  product.

  Args:
    config: `config.model` of a run.
    params: its weights, by name; weights for inference stay unchanged.
  """
  served = {
      name: jnp.asarray(x, _served_dtype(config, name))
      for name, x in params.items()
  }
  table = served['embedding.embedding']
  if table.dtype != config['dtype'] and models.ROUNDED_TABLE not in served:
    rounded = table[: config['vocab_size']].astype(config['dtype'])
    served[models.ROUNDED_TABLE] = rounded
  return served


def _served_dtype(config, name):
  """The dtype of a weight; None: unchanged, as feature maps need float32."""
  in_layers = name.endswith(('.kernel', '.bias'))
  in_products = in_layers and '.feature_map' not in name
  return config['dtype'] if in_products else None


@functools.lru_cache(maxsize=16)
def _merge(config):
  """One function for equal configs, so that compiled programs are shared."""
  return models.abstract(json.loads(config))[0]
