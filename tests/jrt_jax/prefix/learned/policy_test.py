import json

import numpy as np

from jrt_jax.prefix.learned import policy


def test_features_do_not_depend_on_the_dtype_and_exist_for_no_tokens():
  tokens = np.arange(200) % 7
  narrow = policy.features(tokens.astype(np.uint8))
  np.testing.assert_array_equal(narrow, policy.features(tokens))
  assert np.isfinite(policy.features(tokens[:0])).all()


def test_a_saved_policy_chooses_as_before():
  rng = np.random.default_rng(0)
  prompts = [rng.integers(k, size=n) for k in (2, 9, 99) for n in (5, 80)]
  x = np.array([policy.features(tokens) for tokens in prompts])
  choice = policy.Choice(
      np.array([0, 0.5, 1]),
      x.mean(axis=0),
      x.std(axis=0),
      rng.standard_normal((x.shape[1] + 1, 3)),
  )
  fitted = json.loads(json.dumps(policy.to_json(choice)))
  expected = choice.fractions[choice.actions(x)]
  actual = [policy.fraction(tokens, fitted) for tokens in prompts]
  np.testing.assert_array_equal(actual, expected)
  assert len(set(actual)) > 1
