"""What CUDA's driver is asked, of a pretended library of it."""

import subprocess

import pytest

from jrt_jax.runtime import cuda_driver
from jrt_jax.runtime import gpus


class Library:
  """Two GPUs; functions return 0, or the error of the one that fails."""

  names = b'NVIDIA H100 80GB HBM3', b'NVIDIA H100 80GB HBM3 MIG 1g.10gb'

  def __init__(self, fails=None):
    self.fails = fails
    self.initialized = False

  def __getattr__(self, name):
    if name == self.fails:
      return lambda *_: 100
    return {
        'cuDriverGetVersion': self.give(lambda: 13010),
        'cuDeviceGetCount': self.give(lambda: len(self.names)),
        'cuDeviceGet': self.give(lambda place: 70 + place),
        'cuDeviceGetAttribute': self.give(
            lambda attribute, device: {75: 9, 76: 0}[attribute]
        ),
    }[name]

  def give(self, function):
    def call(result, *arguments):
      assert self.initialized
      result._obj.value = function(*arguments)
      return 0

    return call

  def cuInit(self, flags):
    self.initialized = flags == 0
    return 0

  def cuDeviceGetName(self, name, size, device):
    assert size == len(name)
    name.value = self.names[device - 70]
    return 0


def test_each_gpu_and_part_of_one_is_a_line(monkeypatch, tmp_path):
  version = tmp_path / 'version'
  monkeypatch.setattr(cuda_driver, '_VERSION', version)
  _, line = cuda_driver.lines(Library())
  assert line == 'NVIDIA H100 80GB HBM3 MIG 1g.10gb, 9.0, 13.1'
  version.write_text('580.82.07\n')
  line, _ = cuda_driver.lines(Library())
  assert line == 'NVIDIA H100 80GB HBM3, 9.0, 580.82.07'


def test_a_driver_that_refuses_is_an_error():
  with pytest.raises(OSError, match='cuDeviceGetCount ended with error 100'):
    list(cuda_driver.lines(Library(fails='cuDeviceGetCount')))


def test_without_a_driver_nothing_is_printed(monkeypatch):
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
  done = subprocess.run(gpus._CUDA, capture_output=True, text=True)
  assert (done.returncode, done.stdout.strip(), done.stderr) == (0, '', '')
