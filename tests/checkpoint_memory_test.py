"""The host memory that checkpoints take, in a process of its own."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

MEASURE = """
import pathlib, sys, threading, time
import jax, optax
from jrt_jax.training import checkpoint, train_state

def memory():
  pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
  return pages * 4096

class Peak:
  def __enter__(self):
    self.before = self.most = memory()
    self.ended = threading.Event()
    self.thread = threading.Thread(target=self.watch)
    self.thread.start()
    return self

  def watch(self):
    while not self.ended.wait(0.002):
      self.most = max(self.most, memory())

  def __exit__(self, *_):
    self.ended.set()
    self.thread.join()
    print((self.most - self.before) / size)

params = {
    f'kernel_{i}': jax.random.normal(jax.random.key(i), (1024, 1024))
    for i in range(12)
}
state = train_state.init(params, optax.adamw(1e-3))
jax.block_until_ready(state)
size = sum(x.nbytes for x in jax.tree.leaves(state))
place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), state
)
with checkpoint.Checkpoints(sys.argv[1], keep=1, keep_every=0) as saved:
  with Peak():
    saved.save(1, state, {})
    saved.wait()
  del params, state
  with Peak():
    saved.restore_latest(abstract)
"""


@pytest.mark.slow
def test_saving_and_restoring_take_less_than_the_state_again(tmp_path):
  done = subprocess.run(
      [sys.executable, '-c', MEASURE, str(tmp_path)],
      cwd=ROOT,
      capture_output=True,
      text=True,
  )
  assert done.returncode == 0, done.stderr
  saving, restoring = map(float, done.stdout.split())
  print(f'saving: {saving:.2f}, restoring: {restoring:.2f} of the state')
  assert saving < 1
  assert 0.5 < restoring < 2.2  # the state itself is 1
