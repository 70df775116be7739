from jrt_jax.reproduce import training_results


def run(steps, seed=0):
  return training_results.Run('JRT-RNN', steps, 1e-3, seed, [(1.0, 2.0)])


def test_runs_of_the_most_steps_are_whole_and_all_others_trials():
  runs = [run(366), run(1464), run(732), run(1464, seed=1)]
  whole, trials = training_results.whole_and_trials(runs)
  assert whole == [run(1464), run(1464, seed=1)]
  assert trials == [run(366), run(732)]


def test_of_runs_that_are_equally_long_none_is_a_trial():
  assert training_results.whole_and_trials([run(9), run(9)]) == (
      [run(9)] * 2,
      [],
  )
  assert training_results.whole_and_trials([]) == ([], [])
