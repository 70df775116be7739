import pickle
import sys

import ml_dtypes
import numpy as np
import pytest

from jrt_jax import weights

ARRAYS = {
    'float32': np.arange(6, dtype=np.float32).reshape(2, 3),
    'transposed': np.arange(6, dtype=np.float32).reshape(2, 3).T,
    'bfloat16': np.arange(4).astype(ml_dtypes.bfloat16),
    'int64': np.arange(3),
    'scalar': np.array(2.5, np.float16),
    'empty': np.zeros((0, 4), np.float32),
}


class Code:
  """Runs `print` when it is unpickled."""

  def __reduce__(self):
    return print, ('code of a checkpoint ran',)


def assert_same(actual, expected):
  assert actual.keys() == expected.keys()
  for name, x in expected.items():
    assert actual[name].dtype == x.dtype, name
    assert actual[name].shape == x.shape, name
    np.testing.assert_array_equal(actual[name], x, err_msg=name)


def test_what_is_written_as_safetensors_is_read_again(tmp_path):
  path = tmp_path / 'model.safetensors'
  weights.write_safetensors(path, ARRAYS, {'format': 'pt'})
  assert_same(weights.read_safetensors(path), ARRAYS)
  assert b'"format":"pt"' in path.read_bytes()
  assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_what_they_may_read_of_any_new_file(tmp_path):
  weights.write_safetensors(tmp_path / 'model.safetensors', ARRAYS)
  (tmp_path / 'plain').touch()
  modes = {path.stat().st_mode for path in tmp_path.iterdir()}
  assert len(modes) == 1


def test_what_is_written_as_bin_is_read_again(tmp_path):
  pytest.importorskip('torch')
  arrays = {n: x for n, x in ARRAYS.items() if n != 'bfloat16'}
  path = tmp_path / 'pytorch_model.bin'
  weights.write_torch(path, arrays)
  assert_same(weights.read_torch(path), arrays)
  assert list(tmp_path.iterdir()) == [path]


def test_tied_weights_are_written_to_a_bin_once(tmp_path):
  pytest.importorskip('torch')
  x = np.zeros(10_000, np.float32)
  weights.write_torch(tmp_path / 'tied', {'a': x, 'b': x})
  weights.write_torch(tmp_path / 'untied', {'a': x, 'b': x.copy()})
  tied, untied = ((tmp_path / n).stat().st_size for n in ('tied', 'untied'))
  assert untied - tied == pytest.approx(x.nbytes, abs=1000)


def test_bfloat16_of_torch_is_read(tmp_path):
  torch = pytest.importorskip('torch')
  path = tmp_path / 'pytorch_model.bin'
  torch.save({'a': torch.arange(4, dtype=torch.bfloat16)}, path)
  assert_same(weights.read_torch(path), {'a': ARRAYS['bfloat16']})


def test_a_damaged_safetensors_file_is_refused(tmp_path):
  path = tmp_path / 'model.safetensors'
  weights.write_safetensors(path, ARRAYS)
  for content in (path.read_bytes()[:-1], b'', b'x' * 100):
    path.write_bytes(content)
    with pytest.raises(ValueError, match='must be an intact safetensors file'):
      weights.read_safetensors(path)


@pytest.mark.parametrize('dtype', [np.float32, ml_dtypes.bfloat16])
def test_weights_that_are_not_finite_are_refused(tmp_path, dtype):
  path = tmp_path / 'model.safetensors'
  weights.write_safetensors(path, {'a': np.array([1, np.inf]).astype(dtype)})
  with pytest.raises(ValueError, match="model.safetensors: 'a' must be finite"):
    weights.read_safetensors(path)


def test_code_in_a_bin_does_not_run(tmp_path, capsys):
  torch = pytest.importorskip('torch')
  path = tmp_path / 'pytorch_model.bin'
  torch.save({'a': Code()}, path)
  zipped = path.read_bytes()
  for content in (zipped, pickle.dumps({'a': Code()})):
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match='intact file of weights only'
    ) as error:
      weights.read_torch(path)
    assert len(str(error.value).splitlines()) == 1
  assert not capsys.readouterr().out


def test_a_damaged_bin_is_refused(tmp_path):
  pytest.importorskip('torch')
  path = tmp_path / 'pytorch_model.bin'
  weights.write_torch(path, {'a': np.ones(1000, np.float32)})
  for content in (path.read_bytes()[:-500], b'', b'x' * 100):
    path.write_bytes(content)
    with pytest.raises(ValueError, match='pytorch_model.bin must be an intact'):
      weights.read_torch(path)


def test_a_bin_of_something_else_is_refused(tmp_path):
  torch = pytest.importorskip('torch')
  path = tmp_path / 'pytorch_model.bin'
  for content, message in (
      ([torch.ones(1)], 'it holds a list'),
      ({'state_dict': {'a': torch.ones(1)}}, "'state_dict' is no tensor"),
      ({3: torch.ones(1)}, '3 is not the name of a tensor'),
      ({'a': torch.ones(1).expand(10**9)}, 'a is larger than its stored data'),
      ({'a': torch.tensor([float('nan')])}, "'a' must be finite"),
  ):
    torch.save(content, path)
    with pytest.raises(ValueError, match=message) as error:
      weights.read_torch(path)
    assert '\n' not in str(error.value)


def test_a_bin_without_torch_is_a_clear_error(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'torch', None)
  (tmp_path / 'pytorch_model.bin').touch()
  with pytest.raises(ValueError, match='pytorch_model.bin needs torch: pip'):
    weights.read(tmp_path)


def test_a_folder_may_divide_its_weights_among_files(tmp_path):
  for name in ('float32', 'bfloat16'):
    path = tmp_path / f'model-{name}.safetensors'
    weights.write_safetensors(path, {name: ARRAYS[name]})
  for name in ('pytorch_model.bin', 'adapter.safetensors'):  # not looked at
    (tmp_path / name).touch()
  expected = {name: ARRAYS[name] for name in ('float32', 'bfloat16')}
  assert_same(weights.read(tmp_path), expected)


def test_files_that_hold_the_same_name_are_refused(tmp_path):
  for name in ('a', 'b'):
    weights.write_safetensors(tmp_path / f'model-{name}.safetensors', ARRAYS)
  with pytest.raises(ValueError, match='bfloat16 must be in one file, got'):
    weights.read(tmp_path)


def test_a_folder_without_weights_is_a_clear_error(tmp_path):
  with pytest.raises(FileNotFoundError, match='must hold model.safetensors'):
    weights.read(tmp_path)


def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path):
  with pytest.raises(OSError):
    weights.write_safetensors(tmp_path / 'no' / 'model.safetensors', ARRAYS)


def test_a_digest_is_that_of_sha256sum(tmp_path):
  path = tmp_path / 'file'
  path.write_bytes(b'abc')
  digest = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
  assert weights.sha256(path) == digest
  weights.check_sha256(path, digest)
  with pytest.raises(ValueError, match='damaged or was changed'):
    weights.check_sha256(path, digest[::-1])
