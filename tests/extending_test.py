"""What docs/extending.md adds, added: a page whose examples train and decode."""

import importlib
import pathlib
import re
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from jrt_jax import cost
from jrt_jax import models
from jrt_jax import own_settings
from jrt_jax.cost import topology
from jrt_jax.cost import weight
from jrt_jax.data import examples
from jrt_jax.data import pipeline
from jrt_jax.data import splits
from jrt_jax.data import tokenizers
from jrt_jax.planning import budget
from jrt_jax.runtime import clusters
from jrt_jax.runtime import sharding
from jrt_jax.runtime.schedulers import Place
from jrt_jax.training import loop
from jrt_jax.training import program
from jrt_jax.training import run as run_lib

PAGE = pathlib.Path(__file__).parents[1] / 'docs' / 'extending.md'
CHOICES = {
    'model.mixers': ('moving_average', 'pla'),
    'model.feature_map.name': 'square',
    'prefix.name': 'first_line',
    'objective.name': 'last_half',
}


@pytest.fixture(autouse=True)
def added(monkeypatch):
  """Each section of the page: its files, and its line of a table."""
  for section in PAGE.read_text().split('\n## ')[1:]:
    written = {}
    *files, line = re.findall(r'```python\n(.*?)```', section, re.DOTALL)
    for text in files:
      path = re.match(r'# (\S+)\.py\n', text)[1]
      name = path.replace('/', '.')
      module = types.ModuleType(name)
      exec(text, vars(module))  # pylint: disable=exec-used
      monkeypatch.setitem(sys.modules, name, module)
      written |= vars(module) | {name.rpartition('.')[2]: module}
      if function := vars(module).get(name.rpartition('.')[2]):
        written[function.__name__] = function
    table, path = re.search(
        r'line of `(\w+)`\s+in\s+`(\S+)\.py`', section
    ).groups()
    where = importlib.import_module(
        path.replace('/', '.').removesuffix('.__init__')
    )
    names = {**vars(where), **written}
    ((key, entry),) = eval('{' + line + '}', names).items()  # pylint: disable=eval-used
    monkeypatch.setitem(vars(where)[table], key, entry)


def make_config(path, **changes):
  config = base.get_config()
  config.update_from_flattened_dict(
      {
          'steps': 3,
          'batch_size': 4,
          'microbatch_per_device': 2,
          'sequence_length': 32,
          'eval_every': 0,
          'eval_batches': 1,
          'sample_tokens': 4,
          'optimizer.warmup_steps': 0,
          'mesh.data': 1,
          'data.num_threads': 0,
          'model.width': 16,
          'model.num_heads': 2,
          'model.mlp_width': 16,
          'model.vocab_size': 64,
          'model.vocab_multiple': 8,
          'model.mixers': ('moving_average', 'pla'),
          'model.feature_map.feature_dim': 4,
          'data.source': 'text',
          'data.path': str(path),
          **changes,
      }
  )
  return config.to_dict()


@pytest.fixture
def config(tmp_path):
  text = tmp_path / 'text.txt'
  text.write_text('A line of text.\nAnother line, longer than that.\n' * 200)
  return make_config(text, **CHOICES)


def train(config, workdir):
  """Returns the state after the run, whose losses were finite."""
  own_settings.check(config)
  with run_lib.Run(config, workdir) as run:
    state, _ = run.start()
    assert loop.train(run, state, program.compile_step(run)) is None
    return run.checkpoints.restore_latest(run.abstract_state())[0]


def test_they_train_and_say_nothing_that_is_not_finite(config, tmp_path):
  state = train(config, tmp_path / 'run')
  assert int(state.step) == int(state.opt_state.accepted) == 3
  for name, x in state.params.items():
    assert np.isfinite(x).all(), name


def test_a_config_may_name_them_and_no_others(config):
  base.check(config)
  config['prefix']['name'] = 'second_line'
  with pytest.raises(
      ValueError, match='prefix.name must be one of .*first_line'
  ):
    base.check(config)


def test_plan_counts_what_is_built(config):
  model = config['model']
  _, params = models.abstract(model)
  assert cost.shapes(model) == {name: x.shape for name, x in params.items()}
  parts = cost.parameters(model)
  assert parts['moving_average'] == 2 * 16 * 16 + 16
  plan = budget.make(config, topology.parse('1xH100'))
  assert plan['parameters'] == parts
  assert plan['flops_per_token']['moving_average'] > 0


def test_devices_share_the_mixer(config):
  mesh = sharding.make_mesh(
      {'data': 1, 'fsdp': 2, 'tensor': 2}, jax.devices()[:4]
  )
  weights = cost.weights(config['model'])
  assert weights['layers.0.mixer.proj.kernel'].axes == weight.IN
  merge, params = models.split(models.build(config['model']))
  tokens = jnp.arange(8 * 32).reshape(8, 32) % 64
  read = jax.jit(lambda params: merge(params).hidden(tokens))
  expected = read(params)
  with jax.set_mesh(mesh):
    places = sharding.params_sharding(mesh, params, weights)
    params = jax.device_put(params, places)
    kernel = params['layers.0.mixer.proj.kernel']
    assert kernel.addressable_shards[0].data.shape == (8, 8)
    np.testing.assert_allclose(read(params), expected, rtol=0.05, atol=0.05)


def test_decoding_continues_what_was_read(config):
  model = models.build({**config['model'], 'dtype': 'float32'})
  tokens = jnp.arange(3 * 12).reshape(3, 12) % 64
  logits, states = model.prefill(tokens[:, :8], state_capacity=12)
  for i in range(8, 12):
    logits, states = model.decode_step(tokens[:, i], states)
  np.testing.assert_allclose(logits, model(tokens)[:, -1], rtol=1e-4, atol=1e-5)
  size = sum(x.nbytes for x in jax.tree.leaves(states)) // 3
  assert size == cost.state_bytes(config['model'], length=12)


def test_documents_and_padding_do_not_reach_each_other(config):
  model = models.build({**config['model'], 'dtype': 'float32'})
  tokens = jnp.arange(12)[None]
  alone = model(tokens[:, 5:])
  packed = model(tokens, segment_ids=jnp.array([[0] * 5 + [1] * 7]))
  np.testing.assert_allclose(packed[:, 5:], alone, rtol=1e-4, atol=1e-5)
  padded = model(tokens, mask=jnp.arange(12)[None] >= 5)
  np.testing.assert_allclose(padded[:, 5:], alone, rtol=1e-4, atol=1e-5)


def test_the_policy_and_the_objective_make_the_examples(config):
  tokenizer = tokenizers.load('bytes')
  stream = splits.token_streams(config['data'], tokenizer)['train']
  recipe = examples.Recipe.of(config, tokenizer)
  batch = next(
      pipeline.batches(
          stream, recipe, batch_size=4, seed=0, training=True, num_threads=0
      )
  )
  for tokens, prefix_len in zip(batch['tokens'], batch['prefix_len']):
    ends = tokens[:prefix_len] == ord('\n')
    assert prefix_len == 16 or ends.tolist() == [False] * (prefix_len - 1) + [
        True
    ]
  assert not batch['supervision'][:, :16].any()
  assert batch['supervision'][:, 16:].all()


def test_the_task_trains(tmp_path):
  changes = {'data.source': 'copying', 'prefix.name': 'full', 'steps': 2}
  config = make_config('', **changes, **{'objective.name': 'prefix_lm'})
  assert int(train(config, tmp_path / 'run').step) == 2


def test_the_cluster_gives_processes_their_places():
  environment = {'MY_FIRST_HOST': 'node1', 'MY_SIZE': '2', 'MY_RANK': '1'}
  found = clusters.find('my_cluster', environment, Place())
  assert found == ('my_cluster', Place('node1:12345', 2, 1))
