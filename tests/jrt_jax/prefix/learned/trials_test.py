import numpy as np
import pytest

from jrt_jax.prefix.learned import trials

FRACTIONS = (0.0, 0.5, 1.0)


def test_every_prompt_is_scored_with_every_prefix():
  prompts = [np.arange(4), np.arange(10), np.arange(6)]
  calls = []

  def score(rows, prefix_len):
    calls.append(len(rows))
    return 100 * rows + prefix_len

  table = trials.collect(prompts, FRACTIONS, score, batch_size=2)
  np.testing.assert_array_equal(
      table.scores, [[0, 2, 4], [100, 105, 110], [200, 203, 206]]
  )
  np.testing.assert_array_equal(
      table.rewards(2.0)[0], [0, 1, 2]  # a full prefix costs 2
  )
  assert calls == [2, 2, 2, 1, 1, 1]
  assert (table.seconds > 0).all()


def test_what_compiling_takes_is_not_timed():
  prompts = [np.arange(4)] * 3
  table = trials.collect(prompts, FRACTIONS, lambda rows, M: M, batch_size=3)
  assert np.isnan(table.seconds).all()


def test_a_saved_table_is_read_as_it_was(tmp_path):
  prompts = [np.array([5, 6, 7]), np.array([8])]
  table = trials.collect(
      prompts, FRACTIONS, lambda rows, M: rows + M, sequence_length=9
  )
  path = tmp_path / 'trials.npz'
  trials.save(path, table, 'bytes')
  read, tokenizer = trials.load(path)
  assert tokenizer == 'bytes'
  for name in ('fractions', 'scores', 'seconds'):
    np.testing.assert_array_equal(getattr(read, name), getattr(table, name))
  assert [p.tolist() for p in read.prompts] == [[5, 6, 7], [8]]
  assert read.sequence_length == 9  # documents may all be shorter


def test_what_a_table_may_leave_out(tmp_path):
  path = tmp_path / 'trials.npz'
  tokens, scores = np.arange(6).reshape(2, 3), np.zeros((2, 3))
  np.savez(path, tokens=tokens, fractions=FRACTIONS, scores=scores)
  table, tokenizer = trials.load(path)
  assert tokenizer == '' and np.isnan(table.seconds).all()
  np.testing.assert_array_equal(table.prompts, tokens)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'tokens': np.zeros((1, 3), int)},
            r'scores must have shape \(1, 3\), got',
        ),
        (
            {'tokens': np.zeros((1, 3), int), 'scores': np.zeros((1, 3), int)},
            'must hold 2 to 1,000,000 prompts, got 1',
        ),
        ({'fractions': [0.5], 'scores': np.zeros((2, 1))}, 'at least two'),
        ({'scores': np.zeros((3, 2))}, r'scores must have shape \(2, 3\), got'),
        ({'scores': np.full((2, 3), np.nan)}, 'scores must be finite'),
        ({'lengths': np.zeros(3, int)}, r'lengths must have shape \(2,\), got'),
        (
            {'tokens': np.zeros(3, int)},
            r'tokens must have shape \(\*, \*\), got',
        ),
        (
            {'fractions': np.zeros((1, 3), int)},
            r'fractions must have shape \(\*,\)',
        ),
        (
            {'fractions': [0.0, 0.5, 1.5]},
            r'fractions must be at least two that rise within \[0, 1\]',
        ),
        (
            {'fractions': [0.0, 0.0, 1.0]},
            r'fractions must be at least two that rise within \[0, 1\]',
        ),
        (
            {'fractions': [0.0, np.nan, 1]},
            r'fractions must be at least two that rise within \[0, 1\]',
        ),
        (
            {'lengths': [0, 3]},
            r'lengths must be integers within \[1, 3\], got 0 to 3',
        ),
        (
            {'lengths': [1, 4]},
            r'lengths must be integers within \[1, 3\], got 1 to 4',
        ),
        ({'lengths': [1.0, 2.0]}, 'lengths must be int or uint, got float64'),
        ({'tokens': [[0, -1, 2]] * 2}, r'tokens must be integers within \[0, '),
        ({'sequence_length': 0}, r'sequence_length must be .* got 0 to 0'),
    ],
)
def test_a_table_that_does_not_fit_together_is_refused(
    tmp_path, changes, message
):
  path = tmp_path / 'trials.npz'
  arrays = {'tokens': np.zeros((2, 3), int), 'scores': np.zeros((2, 3))}
  np.savez(path, **{**arrays, 'fractions': FRACTIONS, **changes})
  with pytest.raises(ValueError, match=message):
    trials.load(path)


def test_a_file_that_is_no_table_is_refused(tmp_path):
  path = tmp_path / 'a.npz'
  path.write_text('no')
  with pytest.raises(ValueError, match='a.npz must be an intact .npz file'):
    trials.load(path)
  np.savez(path, tokens=np.zeros((2, 3), int))
  with pytest.raises(ValueError, match='fractions must be given'):
    trials.load(path)


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path, monkeypatch
):
  def savez(file, **arrays):
    file.write(b'half')
    raise OSError(28, 'No space left on device')

  table = trials.collect([np.arange(2)] * 2, FRACTIONS, lambda rows, M: M)
  path = tmp_path / 'a.npz'
  trials.save(path, table, 'first')
  monkeypatch.setattr(trials.np, 'savez', savez)
  with pytest.raises(OSError):
    trials.save(path, table, 'second')
  assert trials.load(path)[1] == 'first'
