"""Which parts of a model `remote_code` has in PyTorch, read from its tables.

The tables are dict literals, which are read without importing torch.
"""

import ast
from collections.abc import Mapping
import pathlib
from typing import Any

from jrt_jax.cost import feature_maps
from jrt_jax.prefix import policies

_REMOTE_CODE = pathlib.Path(__file__).with_name('remote_code')


def check(config: Mapping[str, Any]) -> None:
  """Raises ValueError for what a run's config names and PyTorch code lacks."""
  model, prefix = config['model'], config['prefix']['name']
  settings = model['feature_map']
  hybrid = settings['name'] == feature_maps.HYBRID
  maps = settings['parts'] if hybrid else [settings['name']]
  _require('model.mixers', model['mixers'], 'mixers_jrt', 'MIXERS')
  _require('model.feature_map.name', maps, 'feature_maps_jrt', 'FEATURE_MAPS')
  if (reader := model['pla']['prefix_reader']) != 'sum':
    key = 'model.pla.prefix_reader'
    _require(key, [reader], 'prefix_readers_jrt', 'READERS')
  if policies.PREFIX_POLICIES[prefix].reads_prompt:
    _require('prefix.name', [prefix], 'prefix_jrt', 'POLICIES')


def _require(key, names, file, table):
  known = _keys(file, table)
  if lacking := sorted({*names} - {*known}):
    raise ValueError(
        f'config.{key} must be one of {", ".join(known)} to be exported, got'
        f' {", ".join(lacking)}, which has no PyTorch version'
    )


def _keys(file, table):
  """The keys of a dict literal, a global of a module."""
  tree = ast.parse((_REMOTE_CODE / f'{file}.py').read_text())
  for node in tree.body:
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
      if [ast.unparse(x) for x in node.targets] == [table]:
        return [ast.literal_eval(key) for key in node.value.keys if key]
  raise KeyError(table)
