"""The Python interface does what its parts do, and its examples run."""

import doctest
import importlib
import pathlib
import re
import types

import jax
import numpy as np
import pytest

import jrt_jax
from jrt_jax import generation
from jrt_jax.interchange import hugging_face
from jrt_jax.training import compact
from jrt_jax.training import workdirs

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / 'docs' / 'python.md').read_text()
# Shorter and longer than the prefix, 16 tokens, and than two of them.
TEXTS = ['the cat', 'the cat sat on the mat', 'the dog lay on the log ' * 2]


@pytest.fixture(scope='module')
def lm(bytes_workdir):
  return jrt_jax.load(bytes_workdir)


@pytest.mark.parametrize(
    'name',
    ['', '.api.documents', '.api.loading', '.api.text_model', '.api.state'],
)
def test_what_docstrings_show_is_what_happens(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)  # examples write files
  found = doctest.testmod(importlib.import_module(f'jrt_jax{name}'))
  assert found.attempted > 1 and not found.failed


def test_what_the_readme_shows_is_what_happens(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (examples,) = re.findall(r'```pycon\n(.*?)```', PAGE, re.DOTALL)
  test = doctest.DocTestParser().get_doctest(examples, {}, 'python.md', None, 0)
  found = doctest.DocTestRunner().run(test)
  assert found.attempted > 4 and not found.failed


def test_every_method_shows_an_example():
  methods = [
      x
      for name, x in vars(jrt_jax.TextModel).items()
      if isinstance(x, types.FunctionType) and not name.startswith('_')
  ]
  assert len(methods) > 5
  for method in methods:
    shown = method.__name__ in ('encode', 'decode') or '>>>' in method.__doc__
    assert shown, method


def test_names_of_the_package_can_be_completed_and_others_are_refused():
  assert {'load', 'TextModel', 'State', 'Score'} < {*dir(jrt_jax)}
  with pytest.raises(AttributeError, match="has no attribute 'laod'"):
    getattr(jrt_jax, 'laod')


def test_a_list_is_continued_as_each_text_alone(lm):
  alone = [lm.generate(text, max_tokens=5) for text in TEXTS]
  assert lm.generate(TEXTS, max_tokens=5) == alone
  assert lm.generate(TEXTS, max_tokens=5, batch_size=2) == alone
  assert lm.generate([], max_tokens=5) == []
  settings = generation.GenerationSettings(max_tokens=5)
  parts = generation.generate(lm.model, TEXTS, settings)
  assert [part.text for part in parts] == alone


def test_draws_depend_on_seeds_and_not_on_batches(lm):
  draw = lambda seed, **how: lm.generate(
      [TEXTS[0]] * 3, temperature=1.0, max_tokens=8, seed=seed, **how
  )
  assert draw(0) == draw(0, batch_size=2) != draw(5)
  assert draw(0)[1:] == draw(1)[:-1]
  assert len({*draw(0)}) > 1


def test_read_twice_is_the_text_a_line_break_and_the_text(lm):
  text = TEXTS[0]
  twice = lm.generate(f'{text}\n{text}', max_tokens=5)
  assert lm.generate(text, reading='twice', max_tokens=5) == twice
  ids = lm.encode(text)
  both = lm.generate(np.concatenate([ids, ids]), max_tokens=5)
  assert lm.generate([ids.tolist()], reading='twice', max_tokens=5) == [both]
  score, expected = lm.score(text, ' a', reading='twice'), lm.score(
      f'{text}\n{text}', ' a'
  )
  assert score.log_likelihood == expected.log_likelihood


def test_texts_and_their_ids_are_the_same(lm):
  ids = lm.encode(TEXTS[1])
  assert ids.dtype == np.int32 and lm.decode(ids) == TEXTS[1]
  for same in (ids, ids.tolist(), jax.numpy.array(ids), ids.astype(np.uint8)):
    assert lm.generate(same, max_tokens=3) == lm.generate(
        TEXTS[1], max_tokens=3
    )


def test_lists_may_be_columns_of_tables_and_whatever_yields_texts(lm):
  expected = lm.score(TEXTS[:2], ' a')
  columns = (tuple(TEXTS[:2]), np.array(TEXTS[:2]), iter(TEXTS[:2]))
  for texts in (*columns, np.stack([lm.encode('ab')] * 2)):
    assert len(lm.score(texts, ' a')) == 2
  assert (
      lm.score(np.array(TEXTS[:2]), ' a')[1].log_likelihood
      == expected[1].log_likelihood
  )


def test_stop_may_be_one_text(lm):
  written = lm.generate(TEXTS[1], max_tokens=9)
  stop = written[3:5]
  cut = written[: written.index(stop)]
  assert lm.generate(TEXTS[1], max_tokens=9, stop=stop) == cut
  assert lm.generate(TEXTS[1], max_tokens=9, stop=[stop, 'zzz']) == cut


def test_an_answer_is_as_likely_as_the_state_after_its_context_says(lm):
  state = lm.read(TEXTS[1])
  first, last = lm.encode('ab')
  one, both = lm.score(TEXTS[1], ['a', 'ab'])
  np.testing.assert_allclose(
      [one.log_likelihood, *both.token_log_likelihoods],
      [state.log_probs[first]] * 2
      + [lm.score(f'{TEXTS[1]}', [[first, last]])[0].token_log_likelihoods[1]],
      atol=1e-4,
  )
  assert both.tokens.tolist() == [first, last] and both.num_tokens == 2
  np.testing.assert_allclose(
      both.log_likelihood, both.token_log_likelihoods.sum(), rtol=1e-6
  )
  np.testing.assert_allclose(
      both.perplexity, np.exp(-both.log_likelihood / 2), rtol=1e-6
  )
  likeliest = int(state.log_probs.argmax())
  greedy, other = lm.score(TEXTS[1], [[likeliest], [likeliest - 1]])
  assert greedy.is_greedy and not other.is_greedy
  assert np.isnan(lm.score(TEXTS[1], '').perplexity)


def test_contexts_and_answers_go_in_pairs_or_one_with_all(lm):
  contexts, answers = TEXTS[:2], [' a', ' b']
  value = lambda *pair: lm.score(*pair).log_likelihood
  values = lambda *pair: [score.log_likelihood for score in lm.score(*pair)]
  (aa, ab), (ba, bb) = (
      [value(context, answer) for answer in answers] for context in contexts
  )
  np.testing.assert_allclose(values(contexts, answers), [aa, bb], rtol=1e-5)
  np.testing.assert_allclose(values(contexts[0], answers), [aa, ab], rtol=1e-5)
  np.testing.assert_allclose(values(contexts, ' a'), [aa, ba], rtol=1e-5)


@pytest.mark.parametrize('text', TEXTS)
def test_the_last_activations_are_what_the_next_token_is_drawn_from(lm, text):
  hidden = lm.hidden(text)
  assert hidden.shape == (len(lm.encode(text)), lm.width)
  assert hidden.dtype == np.float32
  logits = lm.model.merge(lm.model.served).logits(hidden[-1])
  np.testing.assert_allclose(
      jax.nn.log_softmax(logits)[: lm.model.tokenizer.size],
      lm.read(text).log_probs,
      atol=1e-4,
  )


def test_layers_lead_from_the_embedding_to_the_last_norm(lm):
  ids = lm.encode(TEXTS[1])
  table = np.asarray(lm.model.params['embedding.embedding'])
  np.testing.assert_allclose(lm.hidden(ids, layer=0), table[ids], rtol=1e-6)
  model = lm.model.merge(lm.model.served)
  last = lm.hidden(ids, layer=lm.num_layers)
  np.testing.assert_allclose(
      model.final_norm(last), lm.hidden(ids), rtol=1e-4, atol=1e-5
  )
  many = lm.hidden([ids, TEXTS[0]], layer=1)
  np.testing.assert_allclose(many[0], last, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
      many[1], lm.hidden(TEXTS[0], layer=1), rtol=1e-4, atol=1e-5
  )


def test_the_prefix_sees_what_comes_later_and_the_rest_does_not(lm):
  ids = lm.encode(TEXTS[2])
  first, later = ids.copy(), ids.copy()
  first[15] += 1  # the last of the prefix
  later[30] += 1
  before = lm.hidden(ids)
  assert abs(lm.hidden(first) - before)[:15].max() > 1e-3
  np.testing.assert_allclose(
      lm.hidden(later)[:30], before[:30], rtol=1e-4, atol=1e-5
  )


def test_another_layer_compiles_nothing(lm, compilations):
  lm.hidden(TEXTS[0], layer=0)
  before = compilations()
  lm.hidden(TEXTS[0], layer=1)
  lm.hidden(TEXTS[0])
  assert compilations() == before


def test_a_state_is_continued_as_its_text(lm, tmp_path):
  state = lm.read(TEXTS[1])
  expected = lm.generate(TEXTS[1], max_tokens=5)
  assert lm.generate(state=state, max_tokens=5) == expected
  assert lm.generate('', state=state, max_tokens=5) == expected
  assert lm.generate(state=state, max_tokens=5) == expected  # it did not change
  state.save(tmp_path / 'state.npz')
  loaded = lm.load_state(tmp_path / 'state.npz')
  assert lm.generate(state=loaded, max_tokens=5) == expected
  assert loaded.num_tokens == len(TEXTS[1])
  assert loaded.num_prefix_tokens == 16


def test_a_state_that_was_extended_is_continued_as_one_that_goes_on(lm):
  state, more = lm.read(TEXTS[1]), ' and then'
  longer = state.extend(more)
  assert longer.num_tokens == state.num_tokens + len(more)
  assert longer.nbytes == state.nbytes
  expected = lm.generate(more, state=state, max_tokens=5)
  assert lm.generate(state=longer, max_tokens=5) == expected
  causal = state.extend(more, turn='append_causal')
  assert causal.num_prefix_tokens == state.num_prefix_tokens
  assert longer.num_prefix_tokens > state.num_prefix_tokens


def test_several_texts_are_read_beside_each_other(lm):
  states, more = lm.read(TEXTS), ' so'
  assert len(states) == 3 and states.num_tokens == [*map(len, TEXTS)]
  expected = [
      lm.generate(more, state=lm.read(text), max_tokens=5) for text in TEXTS
  ]
  assert lm.generate(more, state=states, max_tokens=5) == expected
  assert lm.generate(state=states.extend(more), max_tokens=5) == expected
  assert (
      lm.generate([more] * 3, state=states, max_tokens=5, batch_size=2)
      == expected
  )
  one = lm.read(TEXTS[0])
  assert lm.generate([more, more], state=one, max_tokens=5) == expected[:1] * 2


def test_a_run_a_compact_one_and_an_export_are_the_same_model(
    lm, bytes_workdir, tmp_path
):
  exact = generation.load(bytes_workdir, exact=True)
  hugging_face.write(exact, tmp_path / 'hf', tokenizer='bytes')
  (tmp_path / 'compact').mkdir()
  weights = workdirs.read(bytes_workdir)
  compact.write(
      tmp_path / 'compact', weights.config, weights.params, step=0, data=''
  )
  expected = lm.read(TEXTS[1]).log_probs
  for folder, atol in (('hf', 1e-5), ('compact', 0.3)):  # in bfloat16
    other = jrt_jax.load(tmp_path / folder)
    assert other.num_parameters == lm.num_parameters
    np.testing.assert_allclose(
        other.read(TEXTS[1]).log_probs, expected, atol=atol
    )


def test_what_is_no_model_is_one_clear_line(tmp_path):
  with pytest.raises(FileNotFoundError, match='path must be a workdir.* got'):
    jrt_jax.load(tmp_path / 'nothing')
  with pytest.raises(FileNotFoundError, match='builtin:NAME must be one of'):
    jrt_jax.load('builtin:gpt2')
  (tmp_path / 'config.json').write_text('{"model_type": "gpt2"}')
  with pytest.raises(ValueError, match="of model_type 'gpt2': .*from_official"):
    jrt_jax.load(tmp_path)


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda lm: lm.generate(3), 'texts must be a text .* got int 3'),
        (lambda lm: lm.generate(['a', 1.5]), 'texts must be .* got float 1.5'),
        (lambda lm: lm.generate(), 'texts or state must be given, got neither'),
        (lambda lm: lm.generate(np.ones(3)), r'texts must be .* float64 \[3\]'),
        (lambda lm: lm.generate([257]), r'must lie in \[0, 257\), got 257'),
        (
            lambda lm: lm.generate('a', reading='thrice'),
            "reading must be once or twice, got 'thrice'",
        ),
        (
            lambda lm: lm.generate('a', max_tokens=1.5),
            'max_tokens must be a whole number of at least 0, got 1.5',
        ),
        (
            lambda lm: lm.generate('a', temperature=-1),
            'temperature must be at least 0, got -1',
        ),
        (
            lambda lm: lm.generate('a', temperature='hot'),
            "temperature must be a number, got 'hot'",
        ),
        (
            lambda lm: lm.generate('a', top_k=1.5),
            'top_k must be a whole number of at least 0, got 1.5',
        ),
        (
            lambda lm: lm.generate('a', stop=3),
            'stop must be a text or a list of texts, got 3',
        ),
        (lambda lm: lm.generate('a', turn='x'), 'turn must be one of'),
        (lambda lm: lm.generate('a', state='x'), 'state must be .* got str'),
        (lambda lm: lm.generate({'a': 1}), 'texts must be .* got dict'),
        (lambda lm: lm.encode(3), 'text must be a str, got int'),
        (lambda lm: lm.decode('a'), "ids must be integers .* got str 'a'"),
        (lambda lm: lm.decode([257]), r'must lie in \[0, 257\), got 257'),
        (
            lambda lm: lm.generate('a', batch_size=0),
            'batch_size must be a whole number of at least 1, got 0',
        ),
        (
            lambda lm: lm.generate(['a'] * 3, state=lm.read(['a', 'b'])),
            'one for each of the 2 texts of the state, got 3',
        ),
        (lambda lm: lm.read([]), 'texts must hold at least one text, got none'),
        (
            lambda lm: lm.read('a').extend('b', turn='reencode'),
            "turn='reencode' needs the tokens of all that was read before",
        ),
        (
            lambda lm: lm.score(['a', 'b'], ['c', 'd', 'e']),
            'answers must be one for each of 2 contexts, got 3',
        ),
        (lambda lm: lm.score('a', None), 'answers must be .* got NoneType'),
        (lambda lm: lm.hidden('a', layer=2), 'from 0 to 1, .* got 2'),
        (lambda lm: lm.hidden('a', layer='1'), "layer must be .* got '1'"),
        (lambda lm: lm.hidden(''), 'must hold at least one token'),
    ],
)
def test_a_mistake_is_one_clear_line(lm, call, message):
  with pytest.raises(ValueError, match=message) as error:
    call(lm)
  assert '\n' not in str(error.value)


def test_a_state_of_another_model_is_refused(lm):
  other = jrt_jax.TextModel(
      generation.of_weights(
          lm.config,
          {name: x + 1 for name, x in lm.model.params.items()},
          origin='a test',
      )
  )
  with pytest.raises(ValueError, match='state must be of this model'):
    lm.generate('a', state=other.read('b'))
