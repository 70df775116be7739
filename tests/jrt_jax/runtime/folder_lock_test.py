import multiprocessing

import pytest

from jrt_jax.runtime import folder_lock


def _hold(folder, held, end):
  with folder_lock.held(folder, '--out'):
    held.set()
    end.wait()


def test_a_folder_is_free_again_when_its_process_is_killed(tmp_path):
  spawn = multiprocessing.get_context('spawn')
  held, end = spawn.Event(), spawn.Event()
  other = spawn.Process(target=_hold, args=(tmp_path, held, end))
  other.start()
  assert held.wait(60)
  with pytest.raises(ValueError, match='in use by another .* another --out'):
    with folder_lock.held(tmp_path, '--out'):
      pass
  other.kill()
  other.join()
  with folder_lock.held(tmp_path, '--out'):
    pass
