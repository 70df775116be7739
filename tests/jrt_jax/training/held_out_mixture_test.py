import math

import numpy as np
import pytest

from jrt_jax.data import mixture
from jrt_jax.data import streams
from jrt_jax.data import tokenizers
from jrt_jax.data.objectives import MASKED_TOKEN
from jrt_jax.data.objectives import NEXT_TOKEN
from jrt_jax.training import held_out
from jrt_jax.training import held_out_mixture

# The second text has one batch of windows, the first one has more.
TEXTS = {'cats': 'the cat sat on the mat; ' * 99, 'dogs': 'a dog lay, ' * 20}
SHARES = {'cats': 0.75, 'dogs': 0.25}


def step(params, batch):
  """Stands in for `Steps.evaluate`: the loss of a label is its id / 100."""
  del params
  sums = {}
  for name, where in (
      ('next_token', batch['supervision'] == NEXT_TOKEN),
      ('masked_token', batch['supervision'] == MASKED_TOKEN),
      ('recall', batch['recallable']),
  ):
    labels = batch['targets'][where]
    sums[f'{name}_nll'] = (labels / 100).sum()
    sums[f'{name}_correct'] = (labels % 2 == 0).sum()
    sums[f'{name}_count'] = labels.size
  return sums


def tokens(name):
  ids = np.concatenate([*tokenizers.Bytes().stream([TEXTS[name]])])
  return streams.in_memory(ids.astype(np.uint16))


def make(kind, config, text):
  return kind(config, tokenizers.Bytes(), text, rows=4, put=lambda batch: batch)


@pytest.fixture
def evaluation(run_config):
  parts = [mixture.Part(x, SHARES[x], tokens(x)) for x in TEXTS]
  config = run_config(eval_batches=3)
  return make(held_out_mixture.HeldOutMixture, config, mixture.Mixture(parts))


def test_each_text_has_the_metrics_that_it_has_alone(evaluation, run_config):
  metrics = evaluation.run(step, None)
  for name in TEXTS:
    config = run_config(eval_batches=3)
    alone = make(held_out.HeldOutLoss, config, tokens(name)).run(step, None)
    own = {
        key.removeprefix(f'{name}/'): value
        for key, value in metrics.items()
        if key.startswith(f'{name}/')
    }
    assert own == alone
    assert 'masked_token_loss' in own


def test_the_whole_is_the_mean_by_share_though_texts_differ_in_length(
    evaluation,
):
  metrics = evaluation.run(step, None)
  for kind in ('next_token_loss', 'next_token_accuracy'):
    mean = sum(SHARES[x] * metrics[f'{x}/{kind}'] for x in TEXTS)
    assert metrics[kind] == pytest.approx(mean)
  assert metrics['cats/next_token_loss'] != metrics['dogs/next_token_loss']
  assert metrics['perplexity'] == pytest.approx(
      math.exp(metrics['next_token_loss'])
  )


def test_each_text_is_told_in_words(evaluation):
  metrics = evaluation.run(step, None)
  whole, cats, dogs = (
      f'{metrics[f"{x}bits_per_byte"]:.3f}' for x in ('', 'cats/', 'dogs/')
  )
  assert evaluation.headline(metrics) == (
      f'{whole} bits per byte (cats {cats}, dogs {dogs})'
  )
  lines = evaluation.lines(metrics)
  assert whole in lines['  this model']
  assert lines['  dogs'].startswith(f'{dogs} bits per byte (unigram entropy ')
  assert 'masked-token accuracy' in lines


def test_a_text_with_too_little_held_out_is_named(run_config, monkeypatch):
  monkeypatch.setitem(TEXTS, 'dogs', 'a dog lay down')
  parts = [mixture.Part(x, SHARES[x], tokens(x)) for x in TEXTS]
  with pytest.raises(ValueError, match='config.data.mixture, dogs: .*held out'):
    make(held_out_mixture.HeldOutMixture, run_config(), mixture.Mixture(parts))
