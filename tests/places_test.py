"""Every file is where its name belongs."""

import pathlib

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ('configs', 'jrt_jax', 'launch', 'pallas_kernels')


def misplaced_files(root):
  """Returns a line for each file that is not where its name belongs.

  A test below tests/<package>/ is named after a module or a package; one
  directly in tests/, or in tests/aot/ because it compiles for GPUs, cuts across
  them. Tests are no packages, but for tools like tests/fuzz/; all else is.
  """
  lines = []
  for path in sorted((root / 'tests').rglob('*.py')):
    if (path.parent / '__init__.py').exists():
      continue
    place = path.relative_to(root / 'tests')
    subject = root / place.with_name(place.stem.removesuffix('_test'))
    mirrored = subject.is_dir() or subject.with_suffix('.py').is_file()
    is_test = place.stem.endswith('_test')
    if place.name != 'conftest.py' and not is_test:
      lines.append(f'tests/{place} is not named *_test.py: pytest ignores it')
    elif is_test and place.parent.parts not in ((), ('aot',)) and not mirrored:
      lines.append(f'tests/{place} tests nothing that exists')
  modules = (p for d in PACKAGES for p in (root / d).rglob('*.py'))
  for directory in sorted({path.parent for path in modules}):
    if not (directory / '__init__.py').exists():
      lines.append(f'{directory.relative_to(root)} has no __init__.py')
  return lines


def test_every_file_is_where_its_name_belongs():
  assert not misplaced_files(ROOT)


def test_a_misplaced_file_is_found(tmp_path):
  for name in (
      'jrt_jax/__init__.py',
      'jrt_jax/data/a.py',
      'tests/conftest.py',
      'tests/across_test.py',
      'tests/tool/__init__.py',
      'tests/tool/a.py',
      'tests/jrt_jax/data_test.py',
      'tests/jrt_jax/data/a_test.py',
      'tests/jrt_jax/data/b_test.py',
      'tests/jrt_jax/test_c.py',
  ):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  assert misplaced_files(tmp_path) == [
      'tests/jrt_jax/data/b_test.py tests nothing that exists',
      'tests/jrt_jax/test_c.py is not named *_test.py: pytest ignores it',
      'jrt_jax/data has no __init__.py',
  ]
