"""How much has to be read to follow a training step to its operation."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = ('configs/jrt_360m.py', 'configs/base.py')  # read, though not called

# Trains, and prints the files on the stack when the operation is first called.
TRACE = """
import os, runpy, sys
from pallas_kernels.prefix_linear_attention import chunked

root = os.getcwd() + os.sep  # where an environment may lie, too
ours = root + 'jrt_jax', root + 'pallas_kernels'

def stop(frame, event, _):
  if event != 'call' or frame.f_code.co_filename != chunked.__file__:
    return
  files = []
  while frame:
    file = frame.f_code.co_filename
    if file.startswith(ours) and file not in files:
      files.append(file)
    frame = frame.f_back
  print('stack', *(x.removeprefix(root) for x in reversed(files)), flush=True)
  os._exit(0)

sys.setprofile(stop)
runpy.run_module('jrt_jax.train', run_name='__main__')
"""


def files_on_the_stack(workdir):
  arguments = [
      '--config=configs/jrt_tiny.py',
      f'--workdir={workdir}',
      '--config.steps=1',
      '--config.optimizer.warmup_steps=0',
      '--config.batch_size=2',
      '--config.mesh.data=1',
      '--config.model.width=32',
      '--nocompilation_cache',
  ]
  done = subprocess.run(
      [sys.executable, '-c', TRACE, *arguments],
      cwd=ROOT,
      stdout=subprocess.PIPE,
      text=True,
      check=True,
  )
  (line,) = [x for x in done.stdout.splitlines() if x.startswith('stack ')]
  return line.split()[1:]


def test_a_step_is_found_in_a_dozen_files(tmp_path):
  files = [*CONFIG, *files_on_the_stack(tmp_path / 'run')]
  lines = {x: len((ROOT / x).read_text().splitlines()) for x in files}
  shown = '\n'.join(f'{n:5} {x}' for x, n in lines.items())
  assert files[2] == 'jrt_jax/train.py', shown
  assert len(files) <= 12, shown
  assert max(lines.values()) <= 300, shown
  assert sum(lines.values()) <= 1500, f'{sum(lines.values())}\n{shown}'
