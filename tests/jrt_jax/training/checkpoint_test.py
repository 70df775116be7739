import dataclasses
import pathlib
import resource
import shutil
import threading

from absl import logging
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jrt_jax.training import checkpoint
from jrt_jax.training import checkpoint_integrity


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
  step: jax.Array
  params: dict
  opt_state: tuple


META = {'data': {'next_index': 7, 'epoch': None}, 'config': ['a', 0.1]}


def make_state(step, width=16):
  keys = jax.random.split(jax.random.key(step), 2)
  params = {
      'embedding.embedding': jax.random.normal(keys[0], (8, width)),
      'layers.0.mlp.fc1.kernel': jax.random.normal(keys[1], (width, 4)),
      'final_norm.scale': jnp.full(width, 1 / 3),
  }
  opt_state = optax.adamw(0.1, mask=dict.fromkeys(params, True)).init(params)
  opt_state = jax.tree.map(lambda x: x + jnp.asarray(step, x.dtype), opt_state)
  return State(jnp.int32(step), params, opt_state)


def abstract(state, sharding=None):
  return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(
          x.shape, x.dtype, sharding=sharding or x.sharding
      ),
      state,
  )


def open_checkpoints(workdir, keep=2, keep_every=0):
  return checkpoint.Checkpoints(workdir, keep=keep, keep_every=keep_every)


def steps(workdir):
  return sorted(p.name for p in pathlib.Path(workdir, 'checkpoints').iterdir())


def restore(workdir):
  with open_checkpoints(workdir) as checkpoints:
    return checkpoints.restore_latest(abstract(make_state(0)))


def assert_equal(actual, expected):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
    assert a.dtype == b.dtype and a.sharding == b.sharding
    np.testing.assert_array_equal(a, b)


@pytest.fixture(scope='module')
def two_saves(tmp_path_factory):
  """A workdir with checkpoints 10 and 20; tests work on copies."""
  workdir = tmp_path_factory.mktemp('two_saves')
  with open_checkpoints(workdir) as checkpoints:
    checkpoints.save(10, make_state(10), META | {'step': 10})
    checkpoints.save(20, make_state(20), META | {'step': 20})
  return workdir


@pytest.fixture
def workdir(two_saves, tmp_path):
  return shutil.copytree(two_saves, tmp_path / 'run')


@pytest.fixture
def warnings(monkeypatch):
  lines = []
  monkeypatch.setattr(logging, 'warning', lambda s, *a: lines.append(s % a))
  return lines


def test_the_newest_state_and_meta_come_back_bit_for_bit(workdir, warnings):
  state, meta = restore(workdir)
  assert_equal(state, make_state(20))
  assert meta == META | {'step': 20}
  assert not warnings


def test_no_checkpoint_is_none(tmp_path):
  assert restore(tmp_path) is None


def test_a_state_may_be_donated_while_it_is_saved(tmp_path):
  state = make_state(1, width=4096)
  expected = jax.tree.map(np.array, state)
  overwrite = jax.jit(
      lambda tree: jax.tree.map(lambda x: x * 0, tree), donate_argnums=0
  )
  target = abstract(state)
  with open_checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state, META)
    jax.block_until_ready(overwrite(state))
    checkpoints.wait()
    restored, _ = checkpoints.restore_latest(target)
  jax.tree.map(np.testing.assert_array_equal, restored, expected)


def test_saving_goes_on_in_the_background_until_all_is_written(
    tmp_path, monkeypatch
):
  go_on, seal = threading.Event(), checkpoint_integrity.seal

  def wait_and_seal(path):
    assert go_on.wait(60)
    seal(path)

  monkeypatch.setattr(checkpoint_integrity, 'seal', wait_and_seal)
  with open_checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, make_state(1), META)
    assert '1' not in steps(tmp_path)
    go_on.set()
    checkpoints.wait()
    assert steps(tmp_path) == ['1']


def test_what_goes_wrong_in_the_background_is_raised(tmp_path, monkeypatch):
  def fail(path):
    raise KeyError('a bug')

  monkeypatch.setattr(checkpoint_integrity, 'seal', fail)
  with pytest.raises(KeyError, match='a bug'):
    with open_checkpoints(tmp_path) as checkpoints:
      checkpoints.save(1, make_state(1), META)
  assert '1' not in steps(tmp_path)


@pytest.fixture
def full_disk():
  """No file can be longer than 4 kB: larger ones are cut off by an error."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
  yield
  resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_refuses_a_checkpoint_is_one_line_that_names_the_last(
    workdir, full_disk, capfd
):
  large = make_state(30, width=4096)
  with pytest.raises(checkpoint.NotSaved) as error:
    with open_checkpoints(workdir) as checkpoints:
      checkpoints.save(30, large, META)
  assert str(error.value) == (
      f'{workdir} could not be written to: File too large; the same command'
      ' continues from step 20'
  )
  assert 'Traceback' not in capfd.readouterr().err
  assert {'10', '20'} <= {*steps(workdir)} and '30' not in steps(workdir)


@pytest.mark.parametrize('part', ['params', 'opt_state'])
def test_numbers_that_are_not_finite_are_never_saved(workdir, part):
  state = ruined(make_state(30), part)
  with open_checkpoints(workdir) as checkpoints:
    with pytest.raises(checkpoint.NotSaved) as error:
      checkpoints.save(30, state, META)
  assert str(error.value) == (
      'weights or moments at step 30 are not finite: the same command continues'
      ' from step 20'
  )
  assert steps(workdir) == ['10', '20']


def ruined(state, part):
  """The state with one bad number in its largest array."""
  arrays, structure = jax.tree.flatten(getattr(state, part))
  largest = max(range(len(arrays)), key=lambda i: arrays[i].size)
  arrays[largest] = arrays[largest].at[3, 2].set(np.nan)
  return dataclasses.replace(state, **{part: structure.unflatten(arrays)})


def test_the_norm_of_a_skipped_step_may_be_anything(tmp_path):
  state = make_state(1)
  state.opt_state = (state.opt_state, jnp.float32(np.inf))
  with open_checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state, META)
  assert steps(tmp_path) == ['1']


def test_ruined_weights_that_were_saved_are_set_aside(
    workdir, warnings, monkeypatch
):
  with monkeypatch.context() as earlier:
    earlier.setattr(checkpoint.Checkpoints, 'check_finite', lambda *_: None)
    with open_checkpoints(workdir) as checkpoints:
      checkpoints.save(30, ruined(make_state(30), 'params'), META)
  assert_equal(restore(workdir)[0], make_state(20))
  (line,) = warnings
  assert line.endswith(
      '30 is damaged (its numbers are not finite): moved to 30.damaged'
  )


def test_when_all_are_ruined_it_is_an_error_every_time(tmp_path, monkeypatch):
  with monkeypatch.context() as earlier:
    earlier.setattr(checkpoint.Checkpoints, 'check_finite', lambda *_: None)
    with open_checkpoints(tmp_path) as checkpoints:
      checkpoints.save(1, ruined(make_state(1), 'opt_state'), META)
  for _ in range(2):
    with pytest.raises(ValueError, match='1: its numbers are not finite'):
      restore(tmp_path)


def test_at_least_one_checkpoint_is_kept(tmp_path):
  with pytest.raises(ValueError, match='keep_checkpoints must be positive'):
    open_checkpoints(tmp_path, keep=0)


def test_the_newest_and_every_kth_are_kept(tmp_path):
  with open_checkpoints(tmp_path, keep=2, keep_every=20) as checkpoints:
    for step in (10, 20, 30, 40, 50, 60):
      checkpoints.save(step, make_state(step), META)
  assert steps(tmp_path) == ['20', '40', '50', '60']


def test_a_saved_step_is_not_saved_again(workdir):
  with open_checkpoints(workdir) as checkpoints:
    checkpoints.save(20, make_state(99), META)
  assert_equal(restore(workdir)[0], make_state(20))


def test_a_state_is_restored_onto_another_sharding(workdir):
  mesh = jax.make_mesh((jax.device_count(),), ('data',))
  spec = jax.sharding.PartitionSpec()
  sharding = jax.sharding.NamedSharding(mesh, spec)
  with open_checkpoints(workdir) as checkpoints:
    state, _ = checkpoints.restore_latest(abstract(make_state(0), sharding))
  assert_equal(state, jax.device_put(make_state(20), sharding))


# The files of a checkpoint as patterns; data is in ocdbt.process_0.
FILES = [
    'params/_METADATA',
    'params/manifest.ocdbt',
    'params/d/*',
    'params/ocdbt.process_0/d/*',
    'params/array_metadatas/process_0',
    'train/_METADATA',
    'train/manifest.ocdbt',
    'train/ocdbt.process_0/d/*',
    'meta/data.json',
    'digests.json',
]
CHANGES = {
    'half': lambda content: content[: len(content) // 2],
    'without_its_last_byte': lambda content: content[:-1],
    'empty': lambda content: b'',
    'missing': lambda content: None,
}


def damage(workdir, step, pattern, change):
  file, *_ = pathlib.Path(workdir, 'checkpoints', str(step)).glob(pattern)
  content = change(file.read_bytes())
  file.unlink() if content is None else file.write_bytes(content)
  return file


def flip(content):
  middle = len(content) // 2
  byte = bytes([content[middle] ^ 1])
  return content[:middle] + byte + content[middle + 1 :]


@pytest.mark.parametrize('content', [b'{}', b'[]', b'{"a": 1}', b'[' * 10**5])
def test_digests_that_are_none_are_no_proof(workdir, warnings, content):
  damage(workdir, 20, 'digests.json', lambda _: content)
  assert restore(workdir)[1] == META | {'step': 10}
  assert 'digests.json' in ''.join(warnings)


@pytest.mark.parametrize(
    'pattern, change',
    [(pattern, 'half') for pattern in FILES]
    + [('params/ocdbt.process_0/d/*', change) for change in CHANGES],
)
def test_a_truncated_newest_checkpoint_falls_back_saying_so(
    workdir, warnings, pattern, change
):
  file = damage(workdir, 20, pattern, CHANGES[change])
  state, meta = restore(workdir)
  assert_equal(state, make_state(10))
  assert meta == META | {'step': 10}
  (line,) = warnings
  assert '\n' not in line
  assert 'checkpoints/20 is damaged' in line and file.name in line
  assert line.endswith('moved to 20.damaged')
  assert steps(workdir) == ['10', '20.damaged']


@pytest.mark.parametrize('pattern', ['*/ocdbt.process_0/d/*', 'meta/data.json'])
def test_a_flipped_bit_is_damage_too(workdir, warnings, pattern):
  damage(workdir, 20, pattern, flip)
  assert_equal(restore(workdir)[0], make_state(10))
  assert len(warnings) == 1


def test_a_damaged_step_can_be_saved_again(workdir, warnings):
  for _ in range(2):
    damage(workdir, 20, 'params/d/*', CHANGES['empty'])
    assert_equal(restore(workdir)[0], make_state(10))
    with open_checkpoints(workdir) as checkpoints:
      checkpoints.save(20, make_state(20), META)
  assert_equal(restore(workdir)[0], make_state(20))
  assert steps(workdir) == ['10', '20', '20.damaged', '20.damaged-2']


def test_an_interrupted_save_is_ignored_and_cleaned_up(workdir, warnings):
  checkpoints = workdir / 'checkpoints'
  shutil.copytree(checkpoints / '20', checkpoints / '30.orbax-checkpoint-tmp')
  assert_equal(restore(workdir)[0], make_state(20))
  assert not warnings and steps(workdir) == ['10', '20']


def test_when_all_are_damaged_it_is_an_error_every_time(workdir):
  for step in (10, 20):
    damage(workdir, step, 'train/manifest.ocdbt', CHANGES['empty'])
  for _ in range(2):  # nothing was moved: a second try must not start anew
    with pytest.raises(ValueError, match='every checkpoint in .* is damaged'):
      restore(workdir)


def test_another_model_is_an_error_and_no_damage(workdir, warnings):
  other = abstract(make_state(0, width=8))
  del other.params['final_norm.scale']
  with open_checkpoints(workdir) as checkpoints:
    with pytest.raises(ValueError) as error:
      checkpoints.restore_latest(other)
  assert str(error.value).endswith(
      'is of another model: 3 parameters differ, the first is'
      ' embedding.embedding: saved (8, 16), wanted (8, 8)'
  )
  assert not warnings and steps(workdir) == ['10', '20']
