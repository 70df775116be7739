import pytest

from pallas_kernels import tiles
from pallas_kernels.benchmarks import publish
from pallas_kernels.benchmarks import tuning
from pallas_kernels.benchmarks.case import Settings
from pallas_kernels.benchmarks.results import Folder
from pallas_kernels.prefix_linear_attention.mosaic_sm90_tiles import Tiles

ABOUT = {'device': 'NVIDIA H200', 'date': '2026-11-20', 'rehearsal': False}


@pytest.fixture
def settings(tmp_path, monkeypatch):
  monkeypatch.setattr(publish, 'RESULTS', tmp_path / 'published')
  monkeypatch.setattr(tiles, '_FOLDER', tmp_path / 'tables')
  return Settings(Folder(tmp_path / 'measured'))


def measure(settings, **about):
  settings.folder.begin(ABOUT | about)
  settings.folder.add('goals', {'name': 'G1', 'ms': 1.0})
  settings.folder.finish()


def test_results_and_tiles_are_put_in_their_places(settings, monkeypatch):
  measure(settings)
  monkeypatch.setattr(
      tuning, 'entries', lambda settings: {'V64': Tiles().entry()}
  )
  files = publish.publish(settings)
  names = [
      file.relative_to(publish.RESULTS.parent).as_posix() for file in files
  ]
  assert names == [
      'published/nvidia_h200/results.json',
      'tables/prefix_linear_attention/nvidia_h200.json',
  ]
  table = tiles.load('prefix_linear_attention', 'NVIDIA H200')
  assert Tiles.from_entry(table.entries['V64']) == Tiles()
  assert table.measured['date'] == '2026-11-20'


def test_kernels_that_were_not_checked_enter_no_table(settings):
  measure(settings)
  assert [file.name for file in publish.publish(settings)] == ['results.json']
  assert tiles.load('prefix_linear_attention', 'NVIDIA H200') is None


def test_a_rehearsal_is_never_published(settings):
  measure(settings, rehearsal=True)
  with pytest.raises(ValueError, match='--out must .* not of a rehearsal'):
    publish.publish(settings)
  assert not publish.RESULTS.exists()


def test_an_empty_folder_is_refused(settings):
  with pytest.raises(ValueError, match='--out must have results'):
    publish.publish(settings)
