import json
import threading

import jax
import pytest

from pallas_kernels.selfcheck import kept

GPU = {'kind': 'NVIDIA H100 PCIe', 'driver': '580.1'}


def test_what_has_passed_is_known_by_the_next_process(tmp_path):
  folder = tmp_path / 'cache' / 'kernels'
  passed = kept.about(64, GPU)
  assert not kept.has(folder, passed)
  kept.add(folder, passed)
  assert kept.has(folder, kept.about(64, GPU))
  assert len([*folder.iterdir()]) == 1


def test_it_says_nothing_of_other_widths_gpus_or_versions(
    tmp_path, monkeypatch
):
  kept.add(tmp_path, kept.about(64, GPU))
  others = [kept.about(112, GPU)]
  others += [kept.about(64, GPU | {key: 'another'}) for key in GPU]
  monkeypatch.setattr(kept.machine, 'versions', lambda _: {'jaxlib': '9'})
  others.append(kept.about(64, GPU))
  assert not any(kept.has(tmp_path, other) for other in others)


def test_it_says_nothing_of_other_sources(tmp_path, monkeypatch):
  package = tmp_path / 'package'
  (package / 'tile_tables' / 'op').mkdir(parents=True)
  monkeypatch.setattr(kept.pallas_kernels, '__file__', str(package / 'x.py'))
  digests = set()
  for name in ('a.py', 'b/c.py', 'tile_tables/op/h200.json'):
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).write_text('1')
    digests.add(kept.about(64, GPU)['source'])
  (package / 'b' / 'c.py').write_text('2')
  digests.add(kept.about(64, GPU)['source'])
  (package / 'notes.txt').write_text('no source')
  digests.add(kept.about(64, GPU)['source'])
  assert len(digests) == 4


def test_the_versions_of_what_compiles_are_in_it():
  assert kept.about(64, GPU)['versions']['jax'] == jax.__version__


@pytest.mark.parametrize(
    'content', [b'', b'\xff', b'[' * 10**5, b'{"V": 64', b'[1]', b'7' * 10**5]
)
def test_what_is_damaged_counts_for_nothing(tmp_path, content):
  passed = kept.about(64, GPU)
  kept.add(tmp_path, passed)
  (file,) = tmp_path.iterdir()
  assert json.loads(file.read_text()) == passed
  file.write_bytes(content)
  assert not kept.has(tmp_path, passed)
  kept.add(tmp_path, passed)
  assert kept.has(tmp_path, passed)


def test_a_folder_that_cannot_be_made_is_no_mistake(tmp_path):
  (tmp_path / 'file').write_text('')
  folder = tmp_path / 'file' / 'folder'
  passed = kept.about(64, GPU)
  with kept.turn(folder, pytest.fail), kept.turn(folder, pytest.fail):
    kept.add(folder, passed)
  assert not kept.has(folder, passed)


def test_what_cannot_be_kept_leaves_nothing_behind(tmp_path):
  passed = kept.about(64, GPU)
  kept._file(tmp_path, passed).mkdir()  # no file can take its place
  kept.add(tmp_path, passed)
  assert [*tmp_path.iterdir()] == [kept._file(tmp_path, passed)]


def test_processes_of_one_machine_take_turns(tmp_path):
  folder, order = tmp_path / 'kernels', []
  waits = threading.Event()

  def second():  # it opens the lock for itself
    with kept.turn(folder, waits.set):
      order.append('second')

  other = threading.Thread(target=second)
  with kept.turn(folder, pytest.fail):
    other.start()
    assert waits.wait(60)
    order.append('first')
  other.join(60)
  assert order == ['first', 'second']


def test_machines_that_share_a_folder_do_not_wait_for_each_other(
    tmp_path, monkeypatch
):
  with kept.turn(tmp_path, pytest.fail):
    monkeypatch.setattr(kept.socket, 'gethostname', lambda: 'another')
    with kept.turn(tmp_path, pytest.fail):
      pass
