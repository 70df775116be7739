"""A result is shown again for the config and the weights that it is of."""

import pytest

from jrt_jax.training import checkpoint_integrity
from jrt_jax.training import recorded_result

CONFIG = {'steps': 3, 'model': {'mixers': ('conv', 'pla')}}
TEXT = 'bits per byte  2.129\n\nA prompt, and after ▶ …\r\n'


@pytest.fixture
def workdir(tmp_path):
  for step in (2, 3):
    folder = tmp_path / 'checkpoints' / str(step)
    folder.mkdir(parents=True)
    (folder / checkpoint_integrity.DIGESTS).write_text(
        f'{{"params/a": "{step}"}}'
    )
  recorded_result.save(tmp_path, 3, CONFIG, TEXT)
  return tmp_path


def test_what_was_kept_is_returned(workdir):
  assert recorded_result.load(workdir, 3, CONFIG) == TEXT


def test_nothing_is_returned_for_other_weights(workdir):
  assert recorded_result.load(workdir, 2, CONFIG) is None
  digests = workdir / 'checkpoints' / '3' / checkpoint_integrity.DIGESTS
  digests.write_text('{"params/a": "other"}')
  assert recorded_result.load(workdir, 3, CONFIG) is None
  digests.unlink()
  assert recorded_result.load(workdir, 3, CONFIG) is None


def test_nothing_is_returned_for_another_config(workdir):
  assert recorded_result.load(workdir, 3, CONFIG | {'steps': 4}) is None


def test_nothing_is_returned_where_nothing_or_something_else_was_kept(workdir):
  (workdir / 'result.txt').write_bytes(b'\xff')
  assert recorded_result.load(workdir, 3, CONFIG) is None
  (workdir / 'result.txt').unlink()
  assert recorded_result.load(workdir, 3, CONFIG) is None
