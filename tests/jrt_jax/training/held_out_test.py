import math

import numpy as np
import pytest

from jrt_jax.data import entropy
from jrt_jax.data import recallable_tokens
from jrt_jax.data import tokenizers
from jrt_jax.data.objectives import MASKED_TOKEN
from jrt_jax.data.objectives import NEXT_TOKEN
from jrt_jax.training import held_out

L, P, ROWS, MASK = 16, 8, 4, 319  # as in the config
DOCUMENTS = ['the cat sat on the mat', 'a dog lay on a long log, '] * 40


def nll(ids):
  """What the model of these tests thinks of a label, whatever it has read."""
  return 1 + np.asarray(ids) / 100


def step(params, batch):
  """Stands in for `Steps.evaluate`; `params` is a list of what it was given."""
  params.append(batch)
  sums = {}
  for name, kind in (
      ('next_token', NEXT_TOKEN),
      ('masked_token', MASKED_TOKEN),
  ):
    labels = batch['targets'][batch['supervision'] == kind]
    sums |= sums_over(name, labels)
  return sums | sums_over('recall', batch['targets'][batch['recallable']])


def sums_over(name, labels):
  return {
      f'{name}_nll': nll(labels).sum(),
      f'{name}_correct': (labels % 2 == 0).sum(),
      f'{name}_count': labels.size,
  }


def make(config, tokenizer, rows=ROWS, tokens=None):
  if tokens is None:
    tokens = np.concatenate(list(tokenizer.stream(DOCUMENTS)))
  return tokens, held_out.HeldOutLoss(
      config, tokenizer, tokens, rows=rows, put=lambda batch: batch
  )


@pytest.fixture(params=['bytes', 'bpe'])
def tokenizer(request):
  if request.param == 'bytes':
    return tokenizers.Bytes()
  return tokenizers.load(request.getfixturevalue('tokenizer_json'))


def test_bits_per_byte_are_those_of_a_count_by_hand(run_config, tokenizer):
  tokens, held_out = make(run_config(eval_batches=2), tokenizer)
  windows = 2 * 8  # eval_batches x batch_size
  bits = text_bytes = ends = 0
  for window in range(windows):
    # The last token of the prefix predicts the first one after it.
    for label in range(window * L + P, (window + 1) * L + 1):
      bits += nll(tokens[label]) / math.log(2)
      if tokens[label] == tokenizer.eos_id:
        ends += 1
      else:
        text_bytes += len(tokenizer.decode([tokens[label]]))
  assert ends and text_bytes
  metrics = held_out.run(step, [])
  assert metrics['bits_per_byte'] == pytest.approx(bits / text_bytes)
  mean = bits * math.log(2) / (windows * (L - P + 1))
  assert metrics['next_token_loss'] == pytest.approx(mean)
  assert metrics['perplexity'] == pytest.approx(math.exp(mean))


def test_entropies_are_those_of_the_text_that_is_evaluated(
    run_config, tokenizer
):
  tokens, held_out = make(run_config(), tokenizer)
  text = tokenizer.decode(tokens[: 8 * L]).encode()
  assert held_out.text_bytes == len(text)
  assert (held_out.unigram, held_out.bigram) == entropy.ngram_entropies(text)


def test_next_tokens_are_scored_on_a_clean_prefix_and_masked_ones_apart(
    run_config,
):
  _, held_out = make(run_config(), tokenizers.Bytes())
  batches = []
  metrics = held_out.run(step, batches)
  clean, masked = np.split(np.array(batches), 2)
  assert not any((batch['tokens'] == MASK).any() for batch in clean)
  assert all((batch['supervision'] != MASKED_TOKEN).all() for batch in clean)
  labels = np.concatenate(
      [
          batch['targets'][batch['supervision'] == MASKED_TOKEN]
          for batch in masked
      ]
  )
  assert len(labels)
  assert metrics['masked_token_loss'] == pytest.approx(nll(labels).mean())
  assert metrics['masked_token_accuracy'] == pytest.approx(
      (labels % 2 == 0).mean()
  )


@pytest.mark.parametrize('objective', ['jrt', 'prefix_lm'])
def test_recall_is_judged_on_next_tokens_of_clean_windows(
    run_config, objective
):
  # Pairs of digits are rare: each document has its own, three times.
  documents = [f'{i:03} {i:03} {i:03} ' for i in range(101, 999, 7)]
  tokenizer = tokenizers.Bytes()
  tokens = np.concatenate(list(tokenizer.stream(documents)))
  config = run_config(objective__name=objective, eval_batches=9)
  _, held_out = make(config, tokenizer, tokens=tokens)
  metrics = held_out.run(step, [])
  windows = np.lib.stride_tricks.sliding_window_view(tokens, L + 1)[::L]
  windows = windows[: 9 * 8]
  can_be = recallable_tokens.recallable(windows)[:, P - 1 :]
  labels = windows[:, P:][can_be]
  assert labels.size
  assert metrics['recall_fraction'] == can_be.mean()
  assert metrics['recall_loss'] == pytest.approx(nll(labels).mean())
  assert metrics['recall_accuracy'] == pytest.approx((labels % 2 == 0).mean())


@pytest.mark.parametrize('recall', [False, True])
@pytest.mark.parametrize('masked', [False, True])
def test_what_was_measured_is_told_in_words(run_config, recall, masked):
  _, held_out = make(run_config(), tokenizers.Bytes())
  metrics = {'bits_per_byte': 1.8, 'recall_fraction': 0.0314}
  if recall:
    metrics['recall_accuracy'] = 0.467
  if masked:
    metrics['masked_token_accuracy'] = 0.256
  assert held_out.headline(metrics) == '1.800 bits per byte'
  text = '\n'.join(held_out.lines(metrics).values())
  for fact in (
      f'{held_out.text_bytes:,} bytes',
      f'{held_out.unigram:.3f} bits per byte',
      f'{held_out.bigram:.3f} bits per byte',
      '1.800 bits per byte',
  ):
    assert fact in text
  assert ('46.7%' in text) == ('3.1% that end a rare pair' in text) == recall
  assert ('25.6%' in text) == masked


def test_documents_that_do_not_see_each_other_are_not_recalled(run_config):
  tokens = np.array(([7, 8, 9, 256] * 5)[:L] + [7, 0] * L + [0])
  fractions = {}
  for packing in ('concat', 'documents'):
    config = run_config(
        data__packing=packing,
        prefix__name='none',
        objective__name='next_token',
        batch_size=1,
    )
    _, held_out = make(config, tokenizers.Bytes(), rows=1, tokens=tokens)
    fractions[packing] = held_out.run(step, [])['recall_fraction']
  assert fractions == {'concat': (L - 4) / L, 'documents': 0}


def test_metrics_of_recall_are_left_out_where_there_is_nothing_to_recall(
    run_config,
):
  tokens = np.arange(8 * L + 1) % 256
  _, held_out = make(run_config(), tokenizers.Bytes(), tokens=tokens)
  metrics = held_out.run(step, [])
  assert metrics['recall_fraction'] == 0
  assert 'recall_loss' not in metrics and 'recall_accuracy' not in metrics


def test_a_causal_objective_has_no_masked_tokens(run_config):
  config = run_config(prefix__name='none', objective__name='next_token')
  _, held_out = make(config, tokenizers.Bytes())
  batches = []
  metrics = held_out.run(step, batches)
  assert not any('masked' in name for name in metrics)
  assert all((b['supervision'] == NEXT_TOKEN).all() for b in batches)


def test_how_many_rows_are_taken_at_once_changes_nothing(run_config):
  metrics = [
      make(run_config(), tokenizers.Bytes(), rows)[1].run(step, [])
      for rows in (2, 8)
  ]
  assert metrics[0] == pytest.approx(metrics[1])


def test_every_evaluation_sees_the_same(run_config):
  _, held_out = make(run_config(prefix__name='uniform'), tokenizers.Bytes())
  assert held_out.run(step, []) == held_out.run(step, [])


def test_held_out_data_that_are_few_are_all_evaluated(run_config):
  tokens = np.arange(6 * L + 1) % 256
  _, held_out = make(
      run_config(eval_batches=50), tokenizers.Bytes(), rows=2, tokens=tokens
  )
  batches = []
  held_out.run(step, batches)
  rows = np.concatenate([batch['tokens'] for batch in batches[:3]])
  np.testing.assert_array_equal(rows, tokens[:-1].reshape(6, L))


def test_held_out_data_that_are_too_few_are_refused(run_config):
  for length, message in ((L, 'sequence_length=16'), (3 * L, 'at least 4')):
    with pytest.raises(ValueError, match=message):
      make(run_config(), tokenizers.Bytes(), tokens=np.zeros(length, np.uint16))
