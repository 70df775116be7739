import json

import jax
import numpy as np
import pytest

from jrt_jax import generation
from jrt_jax.generation import DocumentMemory
from jrt_jax.generation import state_file

TEXTS = {
    'a': 'a text that is longer than a block of the model',
    'b': 'another',
    'c': 'the third of them',
}
RIDGE = {'prefix_reader': 'ridge'}
HYBRID = 'conv', 'pla', 'swa', 'pla', 'attention'


@pytest.fixture(scope='module', params=['ridge', 'sum'])
def model(request, make_model):
  """A model whose first layer is its only one."""
  return make_model(('pla',), pla={'prefix_reader': request.param})


@pytest.fixture(scope='module')
def ridge(make_model):
  return make_model(HYBRID, pla=RIDGE)


def read(model, names):
  memory = DocumentMemory(model)
  memory.read({name: TEXTS[name] for name in names})
  return memory


def assert_close(actual, expected, tolerance=1e-5):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
    size = max(1, np.abs(b).max(initial=0))
    np.testing.assert_allclose(a, b, atol=tolerance * size)


def assert_equal(actual, expected):
  jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_a_first_layer_sees_one_prefix_of_all_documents(model):
  ids = np.concatenate([model.encode(text) for text in TEXTS.values()])
  language_model = model.merge(model.params)
  (layer,) = language_model.layers
  x = layer.mixer_norm(language_model.embed(ids[None, None]))
  sums = layer.mixer.prefix_sums(x, np.ones(x.shape[:3], bool))
  (state,) = read(model, TEXTS).decode_state().states
  # Sums of another order differ by more once a ridge regression is solved.
  assert_close(state, layer.mixer.with_prefix(None, sums), tolerance=1e-4)


def test_a_removed_document_leaves_nothing_and_order_does_not_matter(ridge):
  memory = read(ridge, 'cab')
  memory.remove('b')
  never = read(ridge, 'ac')
  assert memory.names == never.names == ['a', 'c']
  assert_close(memory.decode_state(), never.decode_state())
  memory.read({'b': TEXTS['b']})
  assert_close(memory.decode_state(), read(ridge, 'bca').decode_state())


def test_a_state_can_be_asked_for_some_documents(ridge):
  memory = read(ridge, 'abc')
  assert_close(
      memory.decode_state({'a', 'c'}), read(ridge, 'ca').decode_state()
  )
  state = memory.decode_state(['b'])
  assert state.position.tolist() == state.prefix.tolist() == [7]


def test_only_the_prefix_of_pla_layers_is_kept(ridge):
  state = read(ridge, 'ab').decode_state()
  for mixer, kept in zip(HYBRID, state.states):
    assert any(x.any() for x in jax.tree.leaves(kept)) == (mixer == 'pla')


def test_questions_are_answered_from_documents(ridge):
  memory = read(ridge, 'ab')
  settings = generation.GenerationSettings(max_tokens=8)

  def answers(state):
    continuation = generation.Continuation(
        ridge, ['why?', 'when?'], settings, after=state, turn='append_causal'
    )
    continuation.finish()
    return [list(x.tokens) for x in continuation.completions]

  both, one = answers(memory.decode_state()), answers(memory.decode_state('a'))
  memory.remove('b')
  assert answers(memory.decode_state()) == one != both


def test_a_document_is_kept_in_a_file(ridge, tmp_path):
  memory = read(ridge, 'abc')
  for name in 'ab':
    memory.save(name, tmp_path / name)
  loaded = DocumentMemory(ridge)
  for name in 'ba':
    loaded.load(name, tmp_path / name)
  assert_equal(loaded.decode_state(), memory.decode_state('ab'))


def test_a_file_of_another_model_or_strength_is_refused(
    make_model, model, tmp_path
):
  read(model, 'a').save('a', tmp_path / 'a')
  params = dict(model.params)
  changed = 'layers.0.mixer.proj_v_enc.kernel'
  if 'layers.0.mixer.groups.0.reader.log_strength' in params:
    changed = 'layers.0.mixer.groups.0.reader.log_strength'
  params[changed] = params[changed] + 1
  other = generation.Model(model.config, params, model.tokenizer)
  for reader in (other, make_model(('pla',), pla=RIDGE, init_std=0.2)):
    with pytest.raises(ValueError, match='a must be of this model .*, got'):
      DocumentMemory(reader).load('a', tmp_path / 'a')


def test_a_file_of_something_else_is_refused(ridge, tmp_path):
  state_file.save(tmp_path / 'state', ridge, read(ridge, 'a').decode_state())
  with pytest.raises(
      ValueError, match='must be a saved document: meta'
  ) as error:
    DocumentMemory(ridge).load('a', tmp_path / 'state')
  assert '\n' not in str(error.value)


def test_sums_that_cannot_be_solved_are_refused(ridge, tmp_path):
  path = tmp_path / 'a'
  read(ridge, 'a').save('a', path)
  with np.load(path) as file:
    arrays = dict(file)
  assert json.loads(str(arrays['meta']))['tokens'] == len(TEXTS['a'])
  name, *_ = [x for x in arrays if x.endswith('.kk')]
  arrays[name] = -arrays[name]
  with open(path, 'wb') as file:
    np.savez(file, **arrays)
  memory = DocumentMemory(ridge)
  memory.load('wrong', path)
  with pytest.raises(ValueError, match='those of wrong are too ill-condition'):
    memory.decode_state()


@pytest.mark.parametrize(
    'mixers, message',
    [
        (('la', 'conv'), 'with pla, .* got conv, la'),
        (('attention',), 'with pla, .* got attention'),
        (('pla', 'prefix_gdn'), 'no other mixer .* got pla, prefix_gdn'),
    ],
)
def test_a_model_without_keys_for_a_prefix_is_refused(
    make_model, mixers, message
):
  with pytest.raises(ValueError, match=message):
    DocumentMemory(make_model(mixers))


def test_names_are_checked(ridge):
  memory = DocumentMemory(ridge)
  with pytest.raises(ValueError, match='must be one of none, got b'):
    memory.remove('b')
  with pytest.raises(ValueError, match='must be at least one document'):
    memory.decode_state()
  memory.read({'a': 'text'})
  with pytest.raises(ValueError, match='must be one of a, got b'):
    memory.decode_state(['a', 'b'])
  with pytest.raises(ValueError, match='must be added once, got a again'):
    memory.read({'a': 'text'})
  with pytest.raises(ValueError, match='at least one token, got none'):
    memory.read({'b': ''})
