import dataclasses

import pytest

from pallas_kernels.benchmarks import correctness
from pallas_kernels.benchmarks import tuning
from pallas_kernels.benchmarks.case import Settings
from pallas_kernels.benchmarks.case import Waiting
from pallas_kernels.benchmarks.results import Folder
from pallas_kernels.benchmarks.roofline import Workload
from pallas_kernels.prefix_linear_attention.mosaic_sm90_tiles import Tiles

OTHER = dataclasses.replace(Tiles(), segment_chunks=Tiles().segment_chunks + 1)
FORWARD = Workload(B=16, H=16, L=2048)  # enough programs: it is not split


@pytest.fixture
def settings(tmp_path):
  return Settings(Folder(tmp_path))


def check_all(settings, V=64, directions=correctness.DIRECTIONS, **result):
  for mode, direction in correctness.checks():
    if direction in directions:
      name = correctness.row_name(V, mode, direction)
      settings.folder.add('correctness', {'name': name, 'worst': 1e-3} | result)


def add_time(settings, tiles, ms, part='segment_chunks', **others):
  row = {'V': 64, 'part': part, 'tiles': tiles.entry(), **others}
  name = f'V64 {part}: {tuning.describe(tiles)}'
  settings.folder.add('tuning', {'name': name, 'ms': ms} | row)


def check_winner(settings, **result):
  for case in tuning.winners(settings):
    settings.folder.add('winners', {'name': case.name, 'worst': 1e-3} | result)


def test_candidates_are_distinct_and_possible():
  for part in tuning.CHOICES:
    candidates = tuning.candidates(part)
    assert len(candidates) > 2 and candidates[0] == Tiles()
    names = {tuning.describe(tiles) for tiles in candidates}
    assert len(names) == len(candidates)


def test_tiles_are_described_by_what_differs():
  assert tuning.describe(Tiles()) == 'default'
  assert tuning.describe(OTHER) == f'segment_chunks={OTHER.segment_chunks}'


def test_the_fastest_wins(settings):
  add_time(settings, Tiles(), ms=2.0)
  assert tuning.best(settings, 64) == Tiles()
  add_time(settings, OTHER, ms=1.0)
  assert tuning.best(settings, 64) == OTHER
  assert tuning.best(settings, 112) == Tiles()


def test_only_the_part_that_was_timed_is_taken(settings):
  add_time(settings, OTHER, ms=1.0, part='forward')
  assert tuning.best(settings, 64) == Tiles()


def test_nothing_is_timed_before_it_was_checked(settings):
  with pytest.raises(Waiting, match='V64 was not checked'):
    tuning.trusted(settings, FORWARD)


def test_nothing_wrong_is_timed(settings):
  check_all(settings)
  wrong = {'name': 'V64 ragged gradients', 'error': 'q differs'}
  settings.folder.add('correctness', wrong)
  with pytest.raises(Waiting, match='V64 ragged gradients is wrong'):
    tuning.trusted(settings, FORWARD._replace(backward=True))
  assert tuning.trusted(settings, FORWARD) == Tiles()


def test_where_nothing_is_split_checks_of_that_do_not_matter(settings):
  check_all(settings)
  wrong = {'name': 'V64 split forward', 'error': 'y differs'}
  settings.folder.add('correctness', wrong)
  assert tuning.trusted(settings, FORWARD) == Tiles()
  with pytest.raises(Waiting, match='V64 split forward is wrong'):
    tuning.trusted(settings, FORWARD._replace(B=1))
  assert tuning.entries(settings) == {}


def test_a_winner_that_proves_wrong_loses(settings):
  check_all(settings)
  add_time(settings, OTHER, ms=1.0)
  assert tuning.trusted(settings, FORWARD) == OTHER
  check_winner(settings, error='y differs')
  assert tuning.trusted(settings, FORWARD) == Tiles()
  assert tuning.entries(settings) == {'V64': Tiles().entry()}


def test_the_table_gets_what_is_right_in_all_modes(settings):
  add_time(settings, OTHER, ms=1.0)
  check_all(settings, directions=('forward',))
  assert tuning.entries(settings) == {}
  check_all(settings)
  assert tuning.entries(settings) == {'V64': Tiles().entry()}
  check_winner(settings)
  assert tuning.entries(settings) == {'V64': OTHER.entry()}


def test_default_tiles_need_no_second_check(settings):
  add_time(settings, Tiles(), ms=1.0)
  assert tuning.winners(settings) == []


def test_a_candidate_that_is_wrong_has_no_time(settings, monkeypatch):
  check_all(settings)
  monkeypatch.setattr(
      correctness, 'check', lambda *args: {'worst': 0.5, 'error': 'y differs'}
  )
  monkeypatch.setattr(tuning.timing, 'measure', None)
  case = tuning.cases(settings)[1]
  assert case.run()['error'] == 'y differs'


def test_a_candidate_is_called_with_its_tiles(settings, monkeypatch):
  check_all(settings)
  called = []

  def measure(function, arrays, *, expected_ms):
    assert 0 < expected_ms < 100
    assert arrays['q'].shape == (2, 8, 1, 16)
    called.append(function)
    return {'ms': 1.0}

  def operation(w, **options):
    assert w.V == 64
    return options

  monkeypatch.setattr(correctness, 'check', lambda *args: {'worst': 1e-3})
  monkeypatch.setattr(tuning.timing, 'measure', measure)
  monkeypatch.setattr(tuning.inputs_lib, 'operation', operation)
  tiny = Workload(2, 1, 8, 4)
  monkeypatch.setattr(Settings, 'workload', lambda self, name: tiny)
  case = tuning.cases(settings)[1]
  row = case.run()
  tiles = Tiles.from_entry(row['tiles'])
  assert called == [{'implementation': 'mosaic_sm90', 'tiles': tiles}]
  assert case.name == f'V64 forward: {tuning.describe(tiles)}'
