"""Exported models in transformers compute what ours do, and what others ask."""

import importlib
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax import models
from jrt_jax.cost.mixers import MIXERS
from jrt_jax.interchange import hugging_face
from jrt_jax.training import recorded_config

pytestmark = pytest.mark.hf

ROOT = pathlib.Path(__file__).parents[4]
CONFIGS = sorted(
    path.stem
    for path in (ROOT / 'configs').glob('*.py')
    if path.stem not in ('__init__', 'base', 'recorded')
)
HYBRID = {
    'name': 'hybrid_heads',
    'feature_dim': 4,
    'num_features': 6,
    'parts': ('gaussian_rff', 'mlp'),
    'separate_encoder': True,
}
PREFIX_GDN = {'num_heads': 2, 'key_dim': 4, 'value_dim': 6, 'conv_kernel': 4}
OTHER_READERS = [
    {'prefix_reader': 'ridge'},
    {'prefix_reader': 'contracted'},
    {'causal_in_prefix': False},
    {'prefix_reader': 'ridge', 'causal_in_prefix': False},
]
TOLERANCE = {'rtol': 1e-5, 'atol': 1e-5}


def padded(lengths, *, side, seed=0):
  """Returns random ids and mask, [B, max(lengths)]."""
  L = max(lengths)
  ids = np.random.default_rng(seed).integers(256, size=(len(lengths), L))
  mask = np.arange(L) < np.array(lengths)[:, None]
  return ids, mask[:, ::-1].copy() if side == 'left' else mask


def torch_logits(model, ids, **arguments):
  import torch

  arguments = {
      name: torch.tensor(x) if isinstance(x, np.ndarray) else x
      for name, x in arguments.items()
  }
  return model(torch.tensor(ids), **arguments).logits.numpy()


@pytest.mark.parametrize(
    'overrides',
    [
        {},
        {'feature_map': {'name': 'linear', 'feature_dim': 4}}
        | {'normalizer': 'none'},
        {'feature_map': {'name': 'linear', 'feature_dim': 4}},
        {'feature_map': HYBRID},
        {'normalizer': 'clamp', 'rope_fraction': 0.5, 'conv_kernel': 4},
        {'feature_map': {'name': 'taylor_exp', 'feature_dim': 3}}
        | {'window': 1, 'conv_expand': 2, 'rope_fraction': 0.0},
        {'mixers': ('swa', 'pla', 'swa'), 'window': 3, 'sinks': 2},
        {'pla': {'prefix_reader': 'ridge'}},
        {'pla': {'prefix_reader': 'contracted'}},
        {'pla': {'causal_in_prefix': False}},
        {'pla': {'prefix_reader': 'ridge', 'causal_in_prefix': False}}
        | {'mixers': ('pla', 'la', 'pla'), 'normalizer': 'none'}
        | {'feature_map': HYBRID},
        {'mixers': ('gdn', 'gdn'), 'norm_eps': 1e-3},
        {'mixers': ('prefix_gdn', 'prefix_mamba2')},
        {'mixers': ('prefix_gdn', 'prefix_gdn')}
        | {'gdn': PREFIX_GDN | {'prefix_passes': 'reversed'}},
        {'mixers': ('prefix_gdn', 'prefix_gdn')}
        | {'gdn': PREFIX_GDN | {'prefix_passes': 'both'}},
        {'mixers': ('mamba2', 'mamba2'), 'norm_eps': 1e-3, 'mlp_width': 0},
    ],
)
@pytest.mark.parametrize('side', ['left', 'right'])
def test_logits_are_the_same(make_pair, overrides, side):
  pair = make_pair(**overrides)
  ids, mask = padded((13, 9, 4), side=side)
  prefix_len = np.array([5, 0, 4])
  merge, _ = models.abstract(pair.ours.config['model'])
  start = mask.argmax(axis=1) * (prefix_len > 0)

  @jax.jit
  def logits(params):
    return merge(params)(
        jnp.asarray(ids), prefix_len=jnp.asarray(start + prefix_len), mask=mask
    )

  expected = np.asarray(logits(pair.ours.params))
  actual = torch_logits(
      pair.theirs, ids, attention_mask=mask, prefix_len=prefix_len
  )
  scale = np.abs(expected[mask]).max()
  np.testing.assert_allclose(
      actual[mask] / scale, expected[mask] / scale, **TOLERANCE
  )


def test_a_residual_stream_is_rounded_as_ours_is(make_pair):
  pair = make_pair(residual_dtype='bfloat16')
  ids, _ = padded((40, 40), side='right')
  model = pair.ours.config['model']

  def logits(residual_dtype):
    merge, _ = models.abstract({**model, 'residual_dtype': residual_dtype})
    return merge(pair.ours.params)(ids)

  theirs = torch_logits(pair.theirs, ids)
  rounded, exact = (logits(x) for x in ('bfloat16', 'float32'))
  error = np.linalg.norm(theirs - rounded)
  assert error < 0.3 * np.linalg.norm(exact - rounded)


def test_without_a_prefix_nothing_sees_what_follows_it(pair):
  ids, _ = padded((12,), side='left')
  other = np.concatenate([ids[:, :7], 255 - ids[:, 7:]], axis=1)
  one, two = (torch_logits(pair.theirs, x) for x in (ids, other))
  np.testing.assert_array_equal(one[:, :7], two[:, :7])
  assert (one[:, 7:] != two[:, 7:]).any()
  seen = torch_logits(pair.theirs, ids, prefix_len=12)
  assert not np.allclose(one[:, :7], seen[:, :7], atol=1e-3)


def test_long_texts_are_read_in_chunks(pair, monkeypatch):
  import torch

  mixers = sys.modules[type(pair.theirs.model.layers[0].mixer).__module__]
  ids, mask = padded((2 * mixers.CHUNK + 3, 5), side='left')
  arguments = {'attention_mask': mask, 'prefix_len': mixers.CHUNK + 2}
  attention, recurrence = (
      sys.modules[x.__module__]
      for x in (mixers.LinearAttention, mixers.convolved)
  )
  whole = torch_logits(pair.theirs, ids, **arguments)
  with monkeypatch.context() as context:
    context.setattr(mixers, 'CHUNK', 3)
    context.setattr(attention, 'CHUNK', 3)
    context.setattr(recurrence, 'CHUNK', 5)
    parts = torch_logits(pair.theirs, ids, **arguments)
  assert torch.isfinite(torch.tensor(whole)).all()
  np.testing.assert_allclose(parts[mask], whole[mask], rtol=1e-4, atol=1e-4)


def test_reading_in_parts_equals_reading_at_once(pair):
  import torch

  ids, mask = padded((14, 10), side='left')
  given = {'attention_mask': torch.tensor(mask), 'prefix_len': 4}
  whole = torch_logits(pair.theirs, ids, attention_mask=mask, prefix_len=4)
  ids = torch.tensor(ids)
  for split in range(8, 14):
    given['attention_mask'] = torch.tensor(mask[:, :split])
    cache = pair.theirs(ids[:, :split], use_cache=True, **given).past_key_values
    parts = [ids[:, split : split + 1], ids[:, split + 1 :]]
    for part in filter(torch.Tensor.numel, parts):
      output = pair.theirs(part, past_key_values=cache)
      end = cache.get_seq_length()
      np.testing.assert_allclose(
          output.logits,
          whole[:, end - part.shape[1] : end],
          rtol=1e-4,
          atol=1e-4,
      )
    assert end == 14


def test_sinks_are_remembered_beside_the_window(make_pair, monkeypatch):
  pair = make_pair(mixers=('swa', 'swa'), window=2, sinks=3)
  test_reading_in_parts_equals_reading_at_once(pair)
  test_a_row_is_the_same_alone_and_in_any_batch(pair)
  test_long_texts_are_read_in_chunks(pair, monkeypatch)
  test_what_counts_is_how_far_positions_are_apart(pair)


@pytest.mark.parametrize('pla', OTHER_READERS)
def test_other_readers_of_the_prefix_keep_these_promises(
    make_pair, monkeypatch, tmp_path, pla
):
  pair = make_pair(mixers=('conv', 'pla', 'swa', 'pla'), pla=pla)
  test_without_a_prefix_nothing_sees_what_follows_it(pair)
  test_reading_in_parts_equals_reading_at_once(pair)
  test_a_row_is_the_same_alone_and_in_any_batch(pair)
  test_long_texts_are_read_in_chunks(pair, monkeypatch)
  test_what_transformers_saves_is_read_back(pair, tmp_path)


@pytest.mark.parametrize('pla', OTHER_READERS)
def test_gradients_are_the_same(make_pair, pla):
  import torch

  pair = make_pair(mixers=('pla', 'pla'), pla=pla)
  ids, mask = padded((13, 9, 4), side='right')
  prefix_len = np.array([5, 0, 4])
  weight = np.random.default_rng(1).standard_normal((3, 13, 260))
  weight = (weight * mask[..., None]).astype(np.float32)
  merge, _ = models.abstract(pair.ours.config['model'])

  @jax.jit
  @jax.grad
  def gradients(params):
    logits = merge(params)(
        jnp.asarray(ids), prefix_len=jnp.asarray(prefix_len), mask=mask
    )
    return (logits[..., :260] * weight).sum()

  expected = hugging_face.to_torch(gradients(pair.ours.params), 260)
  with torch.enable_grad():
    logits = pair.theirs(
        torch.tensor(ids),
        attention_mask=torch.tensor(mask),
        prefix_len=torch.tensor(prefix_len),
    ).logits
    names, params = zip(*pair.theirs.named_parameters())
    loss = (logits * torch.tensor(weight)).sum()
    actual = dict(zip(names, torch.autograd.grad(loss, params)))
  assert actual.keys() == expected.keys() - {'vocabulary_padding'}
  for name, gradient in actual.items():
    scale = np.abs(expected[name]).max()
    np.testing.assert_allclose(
        gradient / scale, expected[name] / scale, atol=1e-4, err_msg=name
    )


def test_a_row_is_the_same_alone_and_in_any_batch(pair):
  ids, mask = padded((13, 9, 1), side='left')
  arguments = {'prefix_len': 5}
  together = torch_logits(pair.theirs, ids, attention_mask=mask, **arguments)
  for b, row in enumerate(mask):
    alone = torch_logits(pair.theirs, ids[b : b + 1, row], **arguments)
    np.testing.assert_allclose(alone[0], together[b, row], rtol=1e-5, atol=2e-5)


def test_the_state_has_one_size_at_any_length(make_pair):
  import torch

  def size(cache):
    return sum(x.nbytes for state in cache.states for x in state)

  mixers = tuple(MIXERS.keys() - {'attention'})
  model = make_pair(mixers=mixers).theirs
  short, long = (
      model(torch.zeros(2, n, dtype=int), use_cache=True).past_key_values
      for n in (1, 40)
  )
  assert size(short) == size(long)
  model(torch.zeros(2, 9, dtype=int), past_key_values=long)
  assert size(short) == size(long)


def test_padding_after_the_tokens_is_refused_where_they_are_continued(pair):
  import torch

  ids, mask = (torch.tensor(x) for x in padded((5, 3), side='right'))
  with pytest.raises(ValueError, match='padding must be on the left'):
    pair.theirs(ids, attention_mask=mask, use_cache=True)


def test_embeddings_are_read_as_their_tokens(make_pair):
  import torch

  for pad_mask in ('exclude', 'reference'):
    model = make_pair(mixers=('conv', 'pla', 'swa'), pad_mask=pad_mask).theirs
    ids, _ = padded((9,), side='left')
    x = model.get_input_embeddings()(torch.tensor(ids))
    embedded = model(inputs_embeds=x, prefix_len=3).logits.numpy()
    np.testing.assert_array_equal(
        embedded, torch_logits(model, ids, prefix_len=3)
    )
  with pytest.raises(ValueError, match='either input_ids or inputs_embeds'):
    model(torch.tensor(ids), inputs_embeds=x)


def test_the_loss_is_that_of_labels_outside_the_prefix(pair):
  import torch
  import torch.nn.functional as F

  ids, mask = (torch.tensor(x) for x in padded((9, 6), side='left'))
  labels = ids.masked_fill(~mask, -100)
  given = {'attention_mask': mask, 'prefix_len': 3}
  output = pair.theirs(ids, labels=labels, **given)
  labels[0, :3] = labels[1, 3:6] = -100
  logits = pair.theirs(ids, **given).logits[:, :-1]
  expected = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
  np.testing.assert_allclose(output.loss, expected, rtol=1e-6)
  twice = pair.theirs(ids, labels=labels, num_items_in_batch=18, **given).loss
  count = (labels[:, 1:] != -100).sum()
  np.testing.assert_allclose(twice, expected * count / 18, rtol=1e-6)


def test_hidden_states_lead_from_the_embeddings_to_the_logits(pair):
  import torch

  ids, _ = padded((9,), side='left')
  ids, n = torch.tensor(ids), len(pair.theirs.model.layers)
  output = pair.theirs(ids, output_hidden_states=True)
  states = output.hidden_states
  assert len(states) == n + 1
  assert all(x.shape == (1, 9, 16) for x in states)
  torch.testing.assert_close(states[0], pair.theirs.get_input_embeddings()(ids))
  torch.testing.assert_close(pair.theirs.lm_head(states[-1]), output.logits)
  (logits,) = pair.theirs(ids, return_dict=False)
  torch.testing.assert_close(logits, output.logits)


def test_only_the_logits_that_are_asked_for_are_computed(pair):
  import torch

  ids, _ = padded((9,), side='left')
  whole = torch_logits(pair.theirs, ids)
  for keep in (2, torch.tensor([3, 8])):
    part = torch_logits(pair.theirs, ids, logits_to_keep=keep)
    index = slice(-2, None) if isinstance(keep, int) else keep
    np.testing.assert_allclose(part, whole[:, index], **TOLERANCE)


def test_what_counts_is_how_far_positions_are_apart(pair):
  import torch

  ids, _ = padded((9,), side='left')
  logits = torch_logits(pair.theirs, ids)
  positions = torch.arange(9)[None]
  same = torch_logits(pair.theirs, ids, position_ids=positions)
  np.testing.assert_array_equal(same, logits)
  later = torch_logits(pair.theirs, ids, position_ids=positions + 5)
  np.testing.assert_allclose(later, logits, rtol=1e-4, atol=1e-4)
  apart = torch_logits(pair.theirs, ids, position_ids=3 * positions)
  assert not np.allclose(apart, logits, atol=1e-2)


def test_the_cache_has_an_old_and_a_new_name(pair):
  import torch

  ids, _ = padded((9,), side='left')
  whole, ids = torch_logits(pair.theirs, ids), torch.tensor(ids)
  for name in ('cache', 'past_key_values'):
    output = pair.theirs(ids[:, :6], use_cache=True, return_dict=False)
    logits = pair.theirs(ids[:, 6:], **{name: output[1]}).logits
    np.testing.assert_allclose(logits, whole[:, 6:], rtol=1e-4, atol=1e-4)


def test_tokens_are_read_without_breaks_of_the_compiled_graph(pair):
  import torch

  ids, mask = (torch.tensor(x) for x in padded((9, 6), side='right'))
  compiled = torch.compile(pair.theirs, backend='eager', fullgraph=True)
  for given in ({}, {'attention_mask': mask}, {'labels': ids}):
    expected = pair.theirs(ids, **given)
    torch.testing.assert_close(compiled(ids, **given).logits, expected.logits)


def test_a_new_model_of_the_same_config_computes(make_pair):
  settings = {
      'name': 'hybrid_heads',
      'feature_dim': 4,
      'parts': ('mlp', 'gaussian_prf'),
  }
  model = make_pair(mixers=('pla',), feature_map=settings).theirs
  ids, _ = padded((9,), side='left')
  logits = torch_logits(type(model)(model.config), ids, prefix_len=3)
  assert 0 < logits.std() < 10


def test_what_transformers_saves_is_read_back(pair, tmp_path):
  import torch

  pair.theirs.save_pretrained(tmp_path)
  config, params = hugging_face.read(tmp_path, pair.ours.config)
  assert config == recorded_config.complete(pair.ours.config)
  for name, x in pair.ours.params.items():
    rows = slice(260 if 'embedding' in name else None)  # others stand for no id
    np.testing.assert_array_equal(params[name][rows], x[rows])
  narrow = type(pair.theirs).from_pretrained(pair.folder, dtype=torch.bfloat16)
  output = narrow(torch.zeros(1, 9, dtype=int), prefix_len=3)
  assert output.logits.dtype == torch.float32
  assert torch.isfinite(output.logits).all()


@pytest.mark.parametrize('name', CONFIGS)
def test_every_config_has_its_tensors(pair, name):
  import torch

  config = importlib.import_module(f'configs.{name}').get_config().to_dict()
  _, shapes = models.abstract(config['model'])
  zeros = {
      key: np.broadcast_to(np.float32(0), x.shape) for key, x in shapes.items()
  }
  vocab_size = config['model']['vocab_size']
  exported = hugging_face.to_torch(zeros, vocab_size)
  del exported['vocabulary_padding']
  exported['lm_head.weight'] = exported['model.embed_tokens.weight']
  with torch.device('meta'):
    theirs = type(pair.theirs)(pair.theirs.config_class(config['model']))
  assert {key: x.shape for key, x in exported.items()} == {
      key: tuple(x.shape) for key, x in theirs.state_dict().items()
  }
