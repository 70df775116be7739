import numpy as np
import pytest

from jrt_jax.prefix import bandit

FRACTIONS = (0.0, 0.5, 1.0)


def solvable(num_prompts=300):
  """Prompts of two kinds, told apart by one feature; rewards of each."""
  rng = np.random.default_rng(0)
  kind = rng.integers(2, size=num_prompts)
  x = np.stack([2.0 * kind - 1, np.ones(num_prompts)], axis=1)
  return x, np.array([[0.6, 0.5, 0.1], [0.0, 0.5, 0.9]])[kind]


def learn(method, x, rewards):
  rng = (np.random.default_rng(0),) if method is bandit.reinforce else ()
  weights = method(x, rewards, *rng)
  return (x @ weights).argmax(axis=1)


METHODS = [bandit.supervised, bandit.full_feedback, bandit.reinforce]


@pytest.mark.parametrize('method', METHODS)
def test_every_way_of_learning_finds_what_the_feature_tells(method):
  x, rewards = solvable(3000 if method is bandit.reinforce else 300)
  actions = learn(method, x, rewards)
  np.testing.assert_array_equal(actions, rewards.argmax(axis=1))


@pytest.mark.parametrize('method', METHODS)
def test_without_a_feature_one_fraction_is_chosen_for_all(method):
  x, rewards = solvable()
  assert len(set(learn(method, 0 * x + [0, 1], rewards))) == 1


def test_of_two_equal_prefixes_the_shorter_is_imitated():
  x, _ = solvable()
  rewards = np.tile([0.2, 0.7, 0.7], (len(x), 1))
  assert set(learn(bandit.supervised, x, rewards)) == {1}


def test_a_play_scores_every_prompt_with_every_prefix():
  prompts = [np.arange(4), np.arange(10)]
  table = bandit.play(prompts, FRACTIONS, lambda tokens, M: tokens[0] + M)
  np.testing.assert_array_equal(table.scores, [[0, 2, 4], [0, 5, 10]])
  np.testing.assert_array_equal(
      table.rewards(2.0), [[0, 1, 2], [0, 4, 8]]  # a full prefix costs 2
  )
  assert (table.seconds > 0).all()


def test_a_saved_table_is_read_as_it_was(tmp_path):
  prompts = [np.array([5, 6, 7]), np.array([8])]
  table = bandit.play(prompts, FRACTIONS, lambda tokens, M: len(tokens) + M)
  path = tmp_path / 'plays.npz'
  bandit.save(path, table, 'bytes')
  read, tokenizer = bandit.load(path)
  assert tokenizer == 'bytes'
  for name in ('fractions', 'scores', 'seconds'):
    np.testing.assert_array_equal(getattr(read, name), getattr(table, name))
  assert [p.tolist() for p in read.prompts] == [[5, 6, 7], [8]]


def test_what_a_table_may_leave_out(tmp_path):
  path = tmp_path / 'plays.npz'
  tokens, scores = np.arange(6).reshape(2, 3), np.zeros((2, 3))
  np.savez(path, tokens=tokens, fractions=FRACTIONS, scores=scores)
  table, tokenizer = bandit.load(path)
  assert tokenizer == '' and np.isnan(table.seconds).all()
  np.testing.assert_array_equal(table.prompts, tokens)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'scores': np.zeros((3, 2))}, r'scores must have shape \(2, 3\), got'),
        ({'scores': np.full((2, 3), np.nan)}, 'scores must be finite'),
        ({'lengths': np.zeros(3)}, r'lengths must have shape \(2,\), got'),
        ({'tokens': np.zeros(3)}, r'tokens must have shape \(N, n\), got'),
        ({'fractions': np.zeros((1, 3))}, r'fractions must have shape \(K,\)'),
        (
            {'fractions': [0.0, 0.5, 1.5]},
            r'fractions must rise within \[0, 1\]',
        ),
        (
            {'fractions': [0.0, 0.0, 1.0]},
            r'fractions must rise within \[0, 1\]',
        ),
        (
            {'fractions': [0.0, np.nan, 1]},
            r'fractions must rise within \[0, 1\]',
        ),
        (
            {'lengths': [0, 3]},
            r'integers within \[1, 3\], got int64 from 0 to 3',
        ),
        (
            {'lengths': [1, 4]},
            r'integers within \[1, 3\], got int64 from 1 to 4',
        ),
        ({'lengths': [1.0, 2.0]}, r'integers within \[1, 3\], got float64'),
    ],
)
def test_a_table_that_does_not_fit_together_is_refused(
    tmp_path, changes, message
):
  path = tmp_path / 'plays.npz'
  arrays = {'tokens': np.zeros((2, 3)), 'scores': np.zeros((2, 3))}
  np.savez(path, **{**arrays, 'fractions': FRACTIONS, **changes})
  with pytest.raises(ValueError, match=message):
    bandit.load(path)


def test_a_file_that_is_no_table_is_refused(tmp_path):
  path = tmp_path / 'a.npz'
  path.write_text('no')
  with pytest.raises(ValueError, match='--table must be an .npz file'):
    bandit.load(path)
  np.savez(path, tokens=np.zeros((2, 3)))
  with pytest.raises(ValueError, match='must hold fractions, scores'):
    bandit.load(path)
