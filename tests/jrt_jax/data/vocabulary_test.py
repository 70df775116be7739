import importlib
import pathlib
import types

import pytest

import configs
from jrt_jax.data import vocabulary


def with_vocabulary(size, objective='jrt', **model):
  tokenizer = types.SimpleNamespace(size=size)
  return vocabulary.with_vocabulary(model, tokenizer, {'name': objective})


CONFIGS = [
    path.stem
    for path in pathlib.Path(configs.__file__).parent.glob('*.py')
    if path.stem not in ('__init__', 'base', 'recorded')
]


@pytest.mark.parametrize('size', [2, 257, 258, 50_257, 50_264, 128_256])
@pytest.mark.parametrize('name', CONFIGS)
def test_every_config_has_room_for_any_tokenizer(name, size):
  config = importlib.import_module(f'configs.{name}').get_config().to_dict()
  tokenizer = types.SimpleNamespace(size=size)
  model = vocabulary.with_vocabulary(
      config['model'], tokenizer, config['objective']
  )
  assert size <= model['vocab_size']
  if config['objective']['name'] == 'jrt':
    assert size <= model['mask_id'] < model['vocab_size']
  again = vocabulary.with_vocabulary(model, tokenizer, config['objective'])
  assert again == model  # as a run that is continued finds it


def test_a_vocabulary_with_room_stays_as_it_is():
  gpt2 = {'vocab_size': 50_264, 'mask_id': 50_263}
  assert with_vocabulary(50_257, **gpt2) == gpt2
  assert with_vocabulary(257, **gpt2) == gpt2
  causal = {'vocab_size': 257, 'mask_id': 0}
  assert with_vocabulary(257, 'next_token', **causal) == causal


def test_a_vocabulary_without_room_is_the_tokenizers_and_its_mask():
  for vocab_size in (1, 256, 257):
    model = with_vocabulary(257, vocab_size=vocab_size, mask_id=0, width=4)
    assert model == {'vocab_size': 258, 'mask_id': 257, 'width': 4}


@pytest.mark.parametrize('mask_id', [0, 256, 300])
def test_a_mask_that_is_a_token_or_no_id_is_refused(mask_id):
  with pytest.raises(ValueError, match=f'mask_id must lie .* got {mask_id}'):
    with_vocabulary(257, vocab_size=300, mask_id=mask_id)
