"""A text names a model, or is refused by one line."""

import sys

import pytest

from jrt_jax.evaluation import language_models


@pytest.mark.parametrize(
    'spec', ['', 'workdir:', 'gpt2', 'ftp://a/v1', 'hf', '/runs/jrt_tiny']
)
def test_a_model_has_a_kind_and_a_place(spec):
  with pytest.raises(ValueError, match='^the model must be workdir:DIR, hf:'):
    language_models.load(spec)


def test_every_kind_of_model_has_the_protocol(bytes_workdir):
  for spec in (f'workdir:{bytes_workdir}', 'python:builtins:ascii'):
    model = language_models.load(spec)
    assert isinstance(model, language_models.LanguageModel)
    assert model.name == spec
    assert model.device == ('unknown' if spec.startswith('python') else 'CPU')
    assert model.decode(model.encode('a few words')) == 'a few words'


def test_an_option_is_one_of_the_kind():
  language_models.load('python:builtins:ascii', batch_size=None)  # not given
  with pytest.raises(
      ValueError, match='^workdir:… takes the options tokenizer'
  ):
    language_models.load('workdir:runs/any', batch_size=2, dtype='bfloat16')


def test_options_are_of_the_types_that_the_model_asks_for():
  url = 'http://localhost:1/v1'
  found = language_models.parse_options(url, ['timeout=2.5', 'batch_size=3'])
  assert found == {'timeout': 2.5, 'batch_size': 3}
  found = language_models.parse_options('workdir:a', ['tokenizer=a=b'])
  assert found == {'tokenizer': 'a=b'}


@pytest.mark.parametrize(
    ('spec', 'option', 'message'),
    [
        ('http://a/v1', 'timeout=long', "timeout must be a number, got 'long'"),
        (
            'workdir:a',
            'batch_size=2.5',
            'batch_size must be a whole number, got',
        ),
        ('workdir:a', 'tokenizer', "must be NAME=VALUE, got 'tokenizer'"),
        ('workdir:a', 'dtype=float32', 'takes the options tokenizer, batch_'),
        ('python:a:b', 'dtype=float32', r'options \(none\), got dtype'),
    ],
)
def test_an_option_that_cannot_be_is_named(spec, option, message):
  with pytest.raises(ValueError, match=message):
    language_models.parse_options(spec, [option])


def test_an_extra_that_is_missing_is_named(monkeypatch):
  module = 'jrt_jax.evaluation.language_models.hugging_face'
  monkeypatch.delitem(sys.modules, module, raising=False)
  monkeypatch.setitem(sys.modules, 'torch', None)
  with pytest.raises(ValueError, match=r"^hf:gpt2 needs torch and .*'.\[hf\]'"):
    language_models.load('hf:gpt2')


def test_a_missing_workdir_is_named():
  with pytest.raises(FileNotFoundError, match='runs/nowhere'):
    language_models.load('workdir:runs/nowhere')
