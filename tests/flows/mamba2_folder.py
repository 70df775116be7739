"""A folder with a small Mamba-2 model as transformers writes it."""

import json
import pathlib
from typing import Any

import numpy as np

from jrt_jax import weights

E, H, V, N, G, K, LAYERS, VOCAB = 12, 4, 6, 5, 2, 4, 2, 257
CONFIG = {
    'model_type': 'mamba2',
    'hidden_size': E,
    'num_heads': H,
    'head_dim': V,
    'state_size': N,
    'n_groups': G,
    'conv_kernel': K,
    'num_hidden_layers': LAYERS,
    'vocab_size': VOCAB,
    'time_step_limit': [0.0, float('inf')],
}
# The same model in the words of the authors' package.
AUTHORS = {
    'd_model': E,
    'n_layer': LAYERS,
    'vocab_size': VOCAB,
    'pad_vocab_size_multiple': 1,
    'd_intermediate': 0,
    'attn_layer_idx': [],
    'rms_norm': True,
    'ssm_cfg': {
        'layer': 'Mamba2',
        'd_state': N,
        'd_conv': K,
        'headdim': V,
        'ngroups': G,
    },
}


def write(
    folder: pathlib.Path, config: dict[str, Any] = CONFIG, arrays: Any = ()
) -> pathlib.Path:
  """Writes a folder with random weights.

  Args:
    folder: the folder; it exists.
    config: what `config.json` has.
    arrays: arrays to change, None to leave one out.
  """
  inner, shared = H * V, 2 * G * N
  layer = {
      'norm.weight': (E,),
      'mixer.in_proj.weight': (2 * inner + shared + H, E),
      'mixer.conv1d.weight': (inner + shared, 1, K),
      'mixer.conv1d.bias': (inner + shared,),
      'mixer.A_log': (H,),
      'mixer.dt_bias': (H,),
      'mixer.D': (H,),
      'mixer.norm.weight': (inner,),
      'mixer.out_proj.weight': (E, inner),
  }
  shapes = {
      'backbone.embeddings.weight': (VOCAB, E),
      'backbone.norm_f.weight': (E,),
  } | {
      f'backbone.layers.{i}.{name}': shape
      for i in range(LAYERS)
      for name, shape in layer.items()
  }
  rng = np.random.default_rng(0)
  new = {
      name: rng.standard_normal(shape).astype(np.float32)
      for name, shape in shapes.items()
  } | dict(arrays)
  new = {name: x for name, x in new.items() if x is not None}
  (folder / 'config.json').write_text(json.dumps(config))
  weights.write_safetensors(folder / 'model.safetensors', new, {'format': 'pt'})
  return folder
