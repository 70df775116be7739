"""What README.md shows runs as it is shown."""

import importlib.util
import pathlib
import re

import jax.numpy as jnp

from configs import base

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text()


def test_the_example_of_the_operation_runs_and_reads_its_prefix():
  (code,) = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
  names = {}
  exec(code, names)  # pylint: disable=exec-used
  mixer, weights, x, y = (names[n] for n in ('mixer', 'weights', 'x', 'y'))
  changed = x.at[:, 99].add(1)
  y_changed = mixer(weights, changed, jnp.array([100, 0]))
  assert abs(y_changed - y)[0, 0].max() > 1e-3  # position 99 is prefix
  assert abs(y_changed - y)[1, :99].max() < 1e-5  # and is not


def test_every_file_that_it_names_exists():
  for path in re.findall(
      r'(?:configs|launch|pallas_kernels)/[\w./]*\w', README
  ):
    assert (ROOT / path).exists(), path


def test_every_command_that_it_names_exists():
  for module in re.findall(r'python -m ([\w.]+)', README):
    assert importlib.util.find_spec(module), module


def test_every_key_that_it_names_exists():
  config = base.get_config()
  for key in re.findall(r'--config\.([a-z_0-9.]+)=', README):
    node = config
    for part in key.split('.'):
      node = node[part]
