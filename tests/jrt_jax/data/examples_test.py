import numpy as np
import pytest

from jrt_jax.data import examples
from jrt_jax.data import objectives
from jrt_jax.data import packings
from jrt_jax.data.objectives import MASKED_TOKEN
from jrt_jax.data.objectives import NEXT_TOKEN
from jrt_jax.data.synthetic.task import Sample

EOS = 9
MASK = 100
OBJECTIVE = {
    'name': 'jrt',
    'mask_rate': 1.0,
    'boundary': 'predict',
    'token_zero': 'predict',
}
RECIPE = examples.Recipe(
    8,
    OBJECTIVE,
    prefix={'name': 'full', 'capacity': 0.5},
    num_ids=MASK,
    mask_id=MASK,
    eos_id=EOS,
)
CAUSAL = RECIPE._replace(
    objective=OBJECTIVE | {'name': 'next_token'}, prefix={'name': 'none'}
)
WINDOW = np.array([1, 2, 3, EOS, 4, EOS, EOS, 5, 6], np.uint16)
SAMPLE = Sample(np.array([7, 8, 9, 3, 7]), np.array([-1, -1, -1, -1, 8]), 3)


def of_window(recipe, window=WINDOW):
  return examples.of_window(window, recipe, np.random.default_rng(0))


def of_documents(recipe, window=WINDOW):
  return of_window(recipe._replace(packing='documents'), window)


def of_sample(sample=SAMPLE, prefix='full', capacity=0.5, **objective):
  recipe = RECIPE._replace(
      objective=OBJECTIVE | objective,
      prefix={'name': prefix, 'capacity': capacity},
  )
  return examples.of_sample(sample, recipe, np.random.default_rng(0))


def test_concatenated_documents_predict_each_other():
  example = of_window(CAUSAL)
  assert example['tokens'].tolist() == WINDOW[:-1].tolist()
  assert example['targets'].tolist() == WINDOW[1:].tolist()
  assert (example['supervision'] == NEXT_TOKEN).all()
  assert 'segment_ids' not in example


def test_no_label_crosses_the_end_of_a_separate_document():
  example = of_documents(CAUSAL)
  predicts = example['supervision'] == NEXT_TOKEN
  assert predicts.tolist() == [1, 1, 1, 0, 1, 0, 0, 1]
  assert example['targets'].tolist() == [2, 3, EOS, 0, EOS, 0, 0, 6]
  assert example['segment_ids'].tolist() == [0, 0, 0, 0, 1, 1, 2, 3]


def test_a_prefix_leaves_a_label_of_the_first_document():
  example = of_documents(RECIPE)
  assert example['prefix_len'] == 3
  predicts = example['supervision'] == NEXT_TOKEN
  assert predicts[:3].tolist() == [0, 0, 1]
  assert example['targets'][2] == EOS


def test_a_window_that_begins_with_an_end_has_no_tokens_for_a_prefix():
  example = of_documents(RECIPE, np.array([EOS, 1, 2, 3]))
  assert example['prefix_len'] == 0
  assert example['segment_ids'].tolist() == [0, 1, 1]


def test_masks_lie_in_the_prefix():
  example = of_documents(RECIPE)
  assert example['tokens'].tolist() == [MASK] * 2 + WINDOW[2:-1].tolist()
  masked = example['supervision'] == MASKED_TOKEN
  assert masked.tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


def test_the_end_of_a_document_is_never_masked():
  reference = OBJECTIVE | {'boundary': 'reference'}  # masks the last one too
  example = of_documents(RECIPE._replace(objective=reference))
  assert example['tokens'].tolist() == [MASK] * 3 + WINDOW[3:-1].tolist()
  assert example['segment_ids'].tolist() == [0, 0, 0, 0, 1, 1, 2, 3]


def test_a_document_is_repeated_before_its_prefix_and_masks_are_drawn():
  example = of_documents(RECIPE._replace(repeat=1.0))
  assert example['prefix_len'] == 6
  assert example['tokens'].tolist() == [MASK] * 5 + [3, EOS, 4]
  assert example['targets'].tolist() == [1, 2, 3, 1, 2, EOS, 0, EOS]


def test_each_document_has_a_prefix_and_masks_of_its_own():
  example = of_window(RECIPE._replace(packing='prefixed_documents'))
  assert example['prefix_mask'].tolist() == [1, 1, 1, 0, 1, 0, 0, 1]
  assert example['tokens'].tolist() == [MASK, MASK, 3, EOS, 4, EOS, EOS, 5]
  assert example['targets'].tolist() == [1, 2, EOS, 0, EOS, 0, 0, 6]
  masked, label = MASKED_TOKEN, NEXT_TOKEN
  kinds = [masked, masked, label, 0, label, 0, 0, label]
  assert example['supervision'].tolist() == kinds
  assert example['segment_ids'].tolist() == [0, 0, 0, 0, 1, 1, 2, 3]
  assert 'prefix_len' not in example


@pytest.mark.parametrize('policy', ['fixed', 'uniform', 'full'])
def test_documents_of_a_row_are_examples_as_if_alone(policy):
  recipe = RECIPE._replace(prefix={'name': policy, 'capacity': 0.5})
  prefixed = recipe._replace(packing='prefixed_documents')
  rng = np.random.default_rng(0)  # draws for one document after the other
  window = np.array([5, 4, 3, 2, 1, 8, EOS, 7, 6, 5, 4, 3])
  alone = [
      examples.of_window(part, recipe._replace(packing='documents'), rng)
      for part in (window[:8], window[7:])
  ]
  packed = of_window(prefixed, window)
  for name in ('tokens', 'targets', 'supervision'):
    expected = np.concatenate([x[name] for x in alone])
    np.testing.assert_array_equal(packed[name], expected, name)
  is_prefix = [np.arange(len(x['tokens'])) < x['prefix_len'] for x in alone]
  np.testing.assert_array_equal(
      packed['prefix_mask'], np.concatenate(is_prefix)
  )


@pytest.mark.parametrize('packing', packings.PACKINGS)
def test_a_window_of_one_document_is_the_same_in_all_packings(packing):
  window = np.arange(10, 20)
  half = RECIPE._replace(prefix={'name': 'fixed', 'capacity': 0.5})
  example = of_window(half._replace(packing=packing), window)
  example.pop('segment_ids', None)
  expected = of_window(half, window)
  if packings.PACKINGS[packing].prefix_of_each:
    prefix_len = expected.pop('prefix_len')
    assert example.pop('prefix_mask').sum() == prefix_len
  np.testing.assert_equal(example, expected)


def test_only_answers_of_a_sample_have_labels_and_the_rest_is_filled_up():
  example = of_sample(name='prefix_lm')
  assert example['tokens'].tolist() == [7, 8, 9, 3, 7, 0, 0, 0]
  assert example['targets'].tolist() == [0, 0, 0, 0, 8, 0, 0, 0]
  assert example['supervision'].tolist() == [0, 0, 0, 0, 1, 0, 0, 0]
  assert example['prefix_len'] == 3


def test_the_objective_jrt_masks_the_prefix_of_a_sample_as_well():
  example = of_sample(prefix='fixed', capacity=0.25)
  assert example['tokens'].tolist() == [MASK, MASK, 9, 3, 7, 0, 0, 0]
  assert example['targets'].tolist() == [7, 8, 0, 0, 8, 0, 0, 0]
  assert example['supervision'].tolist() == [2, 2, 0, 0, 1, 0, 0, 0]


def test_a_position_that_answers_is_never_masked():
  example = of_sample(SAMPLE._replace(targets=np.array([-1, 5, -1, -1, 8])))
  assert example['tokens'].tolist() == [MASK, 8, MASK, 3, 7, 0, 0, 0]
  assert example['supervision'].tolist()[:3] == [2, objectives.NEXT_TOKEN, 2]


def test_the_prefix_of_a_text_or_a_sample_may_be_several_documents():
  recipe = RECIPE._replace(
      prefix={'name': 'fixed', 'capacity': 0.5}, documents_in_prefix=3
  )
  rng = np.random.default_rng(0)
  text = examples.of_window(WINDOW, recipe, rng)
  sample = examples.of_sample(SAMPLE._replace(prompt_len=4), recipe, rng)
  for example in (text, sample):
    assert example['prefix_len'].shape == (3,)
    assert example['prefix_len'].sum() == 4
    assert (example['supervision'][:3] == MASKED_TOKEN).all()
    assert example['supervision'][4] == NEXT_TOKEN
  assert text['supervision'][3] == objectives.UNSUPERVISED
