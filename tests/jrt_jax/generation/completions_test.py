"""From prompts to texts: what a model draws, and where a text ends."""

import dataclasses
import pathlib

import numpy as np
import pytest

from configs import base
from jrt_jax import generation
from jrt_jax import models
from jrt_jax.generation import prefill
from jrt_jax.generation.prompt_segments import Segment
from jrt_jax.models import decode
from jrt_jax.models.sampling import Sampling

PROMPTS = 'a', 'prompt longer than the prefix', 'short'
GOLDEN = pathlib.Path(__file__).parents[2] / 'golden'


@pytest.fixture(scope='module')
def small(make_model):
  return make_model(('pla',))


@pytest.fixture
def drawing(small, monkeypatch):
  """A function that continues 'x', drawing the bytes of a text.

  It returns the completion, and what was yielded.
  """
  end = small.tokenizer.eos_id

  def drawing(text, **settings):
    drawn = [*text.encode(), end, *b'never shown' * 3]

    def draw(merge, params, logits, states, sampler, until, **_):
      now, drawn[:] = drawn[: until.tokens], drawn[until.tokens :]
      n = np.int32(len(now))
      return (
          decode.DecodedTokens(np.array([now]), n, n[None]),
          logits,
          states,
          sampler,
      )

    with monkeypatch.context() as patch:
      patch.setattr(decode, 'decode', draw)
      continuation = generation.Continuation(
          small, ['x'], generation.GenerationSettings(**settings)
      )
      pieces = [new for (new,) in continuation]
    return continuation.completions[0], pieces

  return drawing


def test_a_text_ends_where_the_model_ends_it(drawing):
  completion, pieces = drawing('twenty-five characters...')
  assert completion.text == 'twenty-five characters...'
  assert completion.ended == 'end of text' and len(completion.tokens) == 25
  assert pieces == ['twenty-five char', 'acters...']


def test_a_text_ends_before_the_first_stop(drawing):
  text = 'question and answer\nQ: next'
  completion, pieces = drawing(text, stop=('\nQ:', ': n'))
  assert (completion.text, completion.ended) == ('question and answer', 'stop')
  assert bytes(completion.tokens.tolist()) == b'question and answer\nQ:'
  assert ''.join(pieces) == completion.text


def test_what_may_become_a_stop_is_not_shown_yet(drawing):
  _, pieces = drawing('0123456789 abc, def', stop=('abcdefg', 'c, de!'))
  assert pieces == ['0123456789 ab', 'c, def']


def test_a_character_is_shown_when_all_of_it_is_there(drawing):
  completion, pieces = drawing('0123456789abcde→f')
  assert pieces == ['0123456789abcde', '→f']
  assert completion.text == '0123456789abcde→f'


@pytest.mark.parametrize('length', [0, 1, 16, 20])
def test_a_text_has_no_more_tokens_than_it_may(drawing, length):
  text = 'x' * 40
  completion, _ = drawing(text, max_tokens=length)
  assert completion.text == text[:length] and completion.ended == 'length'


def test_the_host_is_asked_only_when_a_text_may_have_ended(small, monkeypatch):
  calls, draw = [], decode.decode

  def counted(*args, **options):
    drawn, *after = draw(*args, **options)
    calls.append(int(drawn.count))
    return drawn, *after

  monkeypatch.setattr(decode, 'decode', counted)
  settings = generation.GenerationSettings(max_tokens=100)
  (whole,) = generation.generate(small, ['x'], settings)
  assert calls == [16, 84]
  calls.clear()
  stop = whole.text[40:43]
  last = [i for i in whole.tokens[: whole.text.index(stop) + 3].tolist()]
  settings = dataclasses.replace(settings, stop=(stop,))
  (stopped,) = generation.generate(small, ['x'], settings)
  assert stopped.ended == 'stop' and stopped.tokens.tolist() == last
  assert sum(calls) < len(last) + decode.CHECK_EVERY


def test_what_seldom_ends_a_text_seldom_asks_the_host(small, monkeypatch):
  calls = []

  def draw(merge, params, logits, states, sampler, until, **_):
    calls.append(int(until.least))
    tokens = np.full((1, 4), ord(' '))  # of which none completes the stop
    drawn = decode.DecodedTokens(tokens, np.int32(4), np.int32([4]))
    return drawn, logits, states, sampler

  monkeypatch.setattr(decode, 'decode', draw)
  settings = generation.GenerationSettings(max_tokens=24, stop=('. ',))
  generation.generate(small, ['x'], settings)
  assert calls == [0, 4, 8, 16, 16, 16]


def test_prompts_are_continued_in_a_batch_as_alone(small):
  sampling = Sampling(temperature=0.8, repetition_penalty=1.3)
  settings = generation.GenerationSettings(
      sampling=sampling, max_tokens=20, seed=3
  )
  together = generation.generate(small, PROMPTS, settings)
  assert len({completion.text for completion in together}) == 3
  (alone,) = generation.generate(small, [PROMPTS[1]], settings, seeds=[4])
  assert alone.text == together[1].text


def test_each_prompt_has_a_seed(small):
  with pytest.raises(ValueError, match='each of the 3 prompts, got 1'):
    generation.generate(small, PROMPTS, seeds=[4])


def test_a_continuation_can_be_left_and_taken_up(small):
  settings = generation.GenerationSettings(
      sampling=Sampling(temperature=0.8), max_tokens=40, seed=3
  )
  (whole,) = generation.generate(small, ['x'], settings)
  continuation = generation.Continuation(small, ['x'], settings)
  next(iter(continuation))
  for _ in continuation:
    pass
  assert continuation.completions[0].text == whole.text


def test_damaged_weights_are_no_answer(small):
  name = 'final_norm.scale'
  params = small.params | {name: small.params[name] * np.nan}
  damaged = generation.Model(small.config, params, small.tokenizer)
  with pytest.raises(ValueError, match='logits must be finite'):
    generation.generate(damaged, ['x'])


def test_prompts_can_share_what_was_read_before(small):
  before = prefill.prefill(small, [[Segment(small.encode('book'), False)]])
  settings = generation.GenerationSettings(max_tokens=0)
  continuation = generation.Continuation(
      small, ['what', 'where?'], settings, after=before
  )
  np.testing.assert_array_equal(continuation.decode_state.position, [8, 10])
  assert continuation.prefix_tokens == 10
  with pytest.raises(ValueError, match='each of the 2 texts .* got 3'):
    generation.Continuation(small, [*'abc'], after=continuation.decode_state)


def test_iterating_reads_the_text_anew_while_it_fits_the_prefix(small):
  """The text of each length up to M = 8 is read as a prompt: half is prefix."""
  prefix = base.get_config().prefix.to_dict() | {'name': 'entropy'}
  prefix |= {'increment': 1.0, 'fitted': {'thresholds': [-1.0, 9.0]}}
  config = {**small.config, 'prefix': prefix}
  model = dataclasses.replace(small, config=config)
  prompt, every = model.encode('abcd'), 2
  settings = generation.GenerationSettings(
      short_prompt='iterate', iterate_every=every, max_tokens=8
  )
  continuation = generation.Continuation(model, [prompt], settings)
  assert continuation.prefix_tokens == 2
  for _ in continuation:
    pass
  assert continuation.decode_state.prefix == 4
  expected = prompt
  while len(expected) < 12:
    few = generation.GenerationSettings(
        max_tokens=every if len(expected) < 8 else 4
    )
    (more,) = generation.generate(model, [expected], few)
    expected = np.concatenate([expected, more.tokens])
  (completion,) = continuation.completions
  np.testing.assert_array_equal(completion.tokens, expected[4:])


class Spaces:
  """A tokenizer of the official test arrays: a space is what they pad with."""

  size, eos_id, fingerprint = 104, -1, ''

  def encode(self, text):
    return np.array([3] * len(text))

  def decode(self, ids):
    return ' '.join(map(str, ids))


@pytest.fixture(scope='module')
def released(make_model):
  """The official test model, and the arrays it comes with."""
  arrays = dict(np.load(GOLDEN / 'jrt_tiny.npz'))
  model = make_model(
      ('conv', 'pla', 'swa', 'conv'),
      width=64,
      num_heads=4,
      mlp_width=256,
      feature_map={'name': 'taylor_exp', 'feature_dim': 8},
      pad_mask='reference',
  )
  config = {**model.config, 'sequence_length': 32}  # a prefix of 16
  config['model']['vocab_size'] = 104
  _, shapes = models.abstract(config['model'])
  params = {n: official(arrays, n).reshape(x.shape) for n, x in shapes.items()}
  return generation.Model(config, params, Spaces()), arrays


def official(arrays, name):
  """Returns the official weights that our parameter `name` stands for."""
  for ours, theirs in {
      'embedding.embedding': 'embeddings.word_embeddings.weight',
      'final_norm.scale': 'ln_f.weight',
      'mixer_norm.scale': 'norm1.weight',
      'mlp_norm.scale': 'norm2.weight',
      'conv.kernel': 'conv.conv.weight',
      'qkv': 'Wqkv',
      'kernel': 'weight',
  }.items():
    name = name.replace(ours, theirs)
  weights = arrays[f'param.transformer.{name}'].squeeze()
  return weights if 'embeddings' in name else weights.T


@pytest.mark.slow
def test_released_models_continue_short_prompts_as_they_officially_do(released):
  model, arrays = released

  settings = generation.GenerationSettings(max_tokens=6)
  drawn = generation.generate(model, [*arrays['short_ids']], settings)
  expected = arrays['greedy_after_padded_prefill']
  np.testing.assert_array_equal([x.tokens for x in drawn], expected)


@pytest.mark.parametrize(
    ('prompts', 'message'),
    [
        ([], 'at least one prompt, got none'),
        (['a', ''], 'a prompt must hold at least one token, got none'),
        ([np.array([5, 300])], r'must lie in \[0, 257\), got 300'),
        ([np.array([-1])], r'must lie in \[0, 257\), got -1'),
    ],
)
def test_impossible_prompts_are_refused(small, prompts, message):
  with pytest.raises(ValueError, match=message):
    generation.generate(small, prompts)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'max_tokens': -1}, 'max_tokens must be at least 0, got -1'),
        ({'seed': -1}, r'seed must lie in \[0, 2\*\*31\), got -1'),
        ({'iterate_every': 0}, 'iterate_every must be at least 1, got 0'),
        ({'stop': ('a', '')}, "stop must hold texts, got ''"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    generation.GenerationSettings(**settings)
