"""Mixtures of texts: their names, their shares, the order of a run."""

import numpy as np
import pytest

from configs import base
from jrt_jax.data import manifest as manifests
from jrt_jax.data import mixture
from jrt_jax.data import pipeline
from jrt_jax.data import preparation
from jrt_jax.data import splits
from jrt_jax.data import streams
from jrt_jax.data import tokenizers
from jrt_jax.data.examples import Recipe
from jrt_jax.prefix import fitting

L = 8
RECIPE = Recipe(
    L, {'name': 'next_token'}, {'name': 'none'}, num_ids=9000, mask_id=9000
)
# Windows of three texts begin with 0, 8, …; 1000, 1008, …; 2000, ….
TEXTS = [
    np.arange(1000 * i, 1000 * i + L * n + 1) for i, n in enumerate((10, 40, 5))
]
SHARES = (0.5, 0.3, 0.2)


def mixed(texts=TEXTS, shares=SHARES):
  return mixture.Mixture(
      [
          mixture.Part(f'text {i}', share, streams.in_memory(tokens))
          for i, (tokens, share) in enumerate(zip(texts, shares))
      ]
  )


def batches(batch_size=10, **options):
  options = dict(seed=0, training=True, num_threads=0) | options
  return pipeline.batches(mixed(), RECIPE, batch_size=batch_size, **options)


def first_tokens(number, iterator):
  return np.concatenate([next(iterator)['tokens'][:, 0] for _ in range(number)])


def test_every_stretch_of_a_run_has_the_shares(monkeypatch):
  of_text = first_tokens(100, batches()) // 1000
  for start in range(0, 1000, 50):
    counts = np.bincount(of_text[start : start + 50], minlength=3)
    np.testing.assert_allclose(counts, [25, 15, 10], atol=1)


def test_each_text_is_shuffled_anew_in_each_of_its_epochs():
  read = first_tokens(100, batches())
  for i, windows in enumerate((10, 40, 5)):
    own = read[read // 1000 == i]
    epochs = own[: len(own) // windows * windows].reshape(-1, windows)
    assert len(epochs) > 5
    expected = 1000 * i + L * np.arange(windows)
    np.testing.assert_array_equal(np.sort(epochs), [expected] * len(epochs))
    assert len({*map(tuple, epochs)}) > 5


def test_texts_of_one_length_are_not_shuffled_alike():
  twins = mixed([TEXTS[0], TEXTS[0] + 1000], (0.5, 0.5))
  iterator = pipeline.batches(
      twins, RECIPE, batch_size=20, seed=0, training=True, num_threads=0
  )
  read = next(iterator)['tokens'][:, 0]
  assert (read[read < 1000] != read[read >= 1000] - 1000).any()


def test_the_order_depends_on_the_seed_and_is_the_same_in_parts():
  whole = first_tokens(12, batches())
  np.testing.assert_array_equal(whole, first_tokens(12, batches()))
  assert (whole != first_tokens(12, batches(seed=1))).any()
  parts = [batches(share=(part, 2), num_threads=2) for part in range(2)]
  joined = [next(x)['tokens'][:, 0] for _ in range(12) for x in parts]
  np.testing.assert_array_equal(np.concatenate(joined), whole)


def test_a_run_continues_where_it_was_in_every_text():
  iterator = batches()
  first_tokens(7, iterator)
  state, rest = iterator.get_state(), first_tokens(5, iterator)
  for options in ({}, {'num_threads': 2}):
    resumed = batches(**options)
    resumed.set_state(state)
    np.testing.assert_array_equal(first_tokens(5, resumed), rest)
  halves = [batches(share=(part, 2)) for part in range(2)]
  for half in halves:
    half.set_state(state)
  joined = [next(x)['tokens'][:, 0] for _ in range(5) for x in halves]
  np.testing.assert_array_equal(np.concatenate(joined), rest)


def test_the_fingerprint_knows_texts_order_and_shares():
  marks = {
      mixed(texts, shares).fingerprint
      for texts, shares in (
          (TEXTS, SHARES),
          (TEXTS[::-1], SHARES),
          (TEXTS, SHARES[::-1]),
          ([*TEXTS[:2], TEXTS[2] + 1], SHARES),
      )
  }
  assert len(marks) == 4
  assert mixed().fingerprint in marks


def test_as_a_stream_it_has_each_token_once():
  np.testing.assert_array_equal(mixed()[:], np.concatenate(TEXTS))


def test_windows_that_a_prefix_is_fitted_to_have_the_shares():
  windows = fitting.sample_windows(mixed(), L, count=20)
  counts = np.bincount([window[0] // 1000 for window in windows])
  assert counts.tolist() == [10, 6, 4]


@pytest.mark.parametrize(
    ('paths', 'expected'),
    [
        (['shards/web'], ['web']),
        (['shards/web', '/data/code'], None),
        (['d/web/v1', 'd/code/v1'], ['web/v1', 'code/v1']),
        (['d', 'd/code'], ['d', 'd/code']),
        (['d/web*.jsonl', 'd/code.jsonl,d/more'], ['web_.jsonl', None]),
    ],
)
def test_names_are_paths_without_what_they_share(paths, expected):
  found = mixture.names([(path, 1.0) for path in paths])
  assert len({*found}) == len(paths)
  for name, wanted in zip(found, expected or [None] * len(found)):
    assert wanted in (None, name)
    assert ',' not in name and '*' not in name


def test_a_path_that_comes_twice_is_refused():
  with pytest.raises(ValueError, match="different paths, got 'web' twice"):
    mixture.names([('web', 1), ('d/../web', 2)])


@pytest.fixture
def data(tmp_path):
  """`config.data` with two folders of shards, of which 3:1 is read."""
  settings = manifests.Settings(
      format='text', separator='|', validation_fraction=0.3
  )
  for name in ('web', 'code'):
    text = '|'.join(f'{name} {i}' for i in range(50))
    (tmp_path / f'{name}.txt').write_text(text)
    paths = [str(tmp_path / f'{name}.txt')]
    preparation.prepare(tmp_path / name, paths, 'bytes', settings, 1)
  paths = ((str(tmp_path / 'web'), 3), (str(tmp_path / 'code'), 1))
  return base.get_config().data.to_dict() | {
      'source': 'shards',
      'mixture': paths,
  }


def test_shards_of_several_folders_are_mixed(data):
  found = splits.token_streams(data, tokenizers.Bytes())
  for split, mixed_split in found.items():
    names = [(part.name, part.share) for part in mixed_split.parts]
    assert names == [('web', 0.75), ('code', 0.25)]
    for part, (path, _) in zip(mixed_split.parts, data['mixture']):
      of_one = data | {'mixture': (), 'path': path}
      alone = splits.token_streams(of_one, tokenizers.Bytes())[split]
      np.testing.assert_array_equal(part.tokens[:], alone[:])


@pytest.mark.parametrize('key', ['path', 'validation_path'])
def test_a_path_besides_the_mixture_is_refused(key, data):
  with pytest.raises(ValueError, match=f'data.{key} must be empty with config'):
    splits.token_streams(data | {key: 'shards'}, tokenizers.Bytes())


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        ((('web', 1), ('code',)), r'mixture\[1\] must be a list of 2: a text'),
        ((('web', 0),), r'mixture\[0\]\[1\] must be a number from 1e-06 to'),
        (('web', 1), r"mixture\[0\] must be a list of 2: .*, got 'web'"),
    ],
)
def test_what_is_no_mixture_is_refused_in_one_line(value, message):
  config = base.get_config().to_dict()
  config['data']['mixture'] = value
  with pytest.raises(ValueError, match=message):
    base.check(config)


def test_a_text_that_is_too_short_is_named():
  short = mixed([TEXTS[0], TEXTS[1][:5]], (0.5, 0.5))
  with pytest.raises(ValueError, match='needs more tokens than that of text 1'):
    pipeline.batches(short, RECIPE, batch_size=2, seed=0, training=True)
