"""Configs and a compact run; a tokenizer; a machine with a Hopper GPU."""

import pytest
import tokenizers

from configs import base
from jrt_jax import models
from jrt_jax.runtime import gpus
from jrt_jax.training import compact
from jrt_jax.training import kernels
from pallas_kernels import tiles
from pallas_kernels.selfcheck import verdict as verdict_lib

_H100 = gpus.Gpu('3', 'NVIDIA H100 PCIe', '9.0', '580.1')


@pytest.fixture(scope='module')
def config(run_config, tmp_path_factory):
  path = tmp_path_factory.mktemp('data') / 'text.txt'
  path.write_text('the cat sat on the mat; ' * 1000)

  def make(**overrides):
    return run_config(**{'data__path': str(path), **overrides})

  return make


@pytest.fixture
def compact_run(config, tmp_path):
  """The folder of a compact run, and its params."""
  folder, settings = tmp_path / 'compact', config(model__vocab_multiple=1)
  params = models.split(models.build(settings['model'], seed=3))[1]
  folder.mkdir()
  compact.write(folder, settings, params, step=5, data='')
  return folder, params


@pytest.fixture(scope='session')
def tokenizer_json(tmp_path_factory):
  """The path of a small tokenizer like GPT-2's."""
  bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
  bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
      add_prefix_space=False
  )
  bpe.decoder = tokenizers.decoders.ByteLevel()
  trainer = tokenizers.trainers.BpeTrainer(
      vocab_size=280,
      special_tokens=['<|endoftext|>'],
      initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
      show_progress=False,
  )
  bpe.train_from_iterator(['the cat sat on the mat, a long log'], trainer)
  path = tmp_path_factory.mktemp('tokenizer') / 'tokenizer.json'
  bpe.save(str(path))
  return str(path)


@pytest.fixture
def kernels_config():
  """The config of a run that the Hopper kernels could compute."""
  config = base.get_config()
  config.model.mixers = ('conv', 'pla')
  config.model.update(width=128, num_heads=2)
  return config.to_dict()


@pytest.fixture
def asked(monkeypatch, tmp_path):
  """A function that makes this a machine whose check ends with a reason.

  It returns a list, of what is asked there.
  """
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'caches'))
  monkeypatch.setattr(tiles, '_FOLDER', tmp_path / 'tables')

  def on(reason=None, gpu=_H100, report=()):
    kernels._asked.cache_clear()  # as in another process
    questions = []

    def decide(widths, *, gpu):
      questions.append((widths, gpu))
      return [verdict_lib.Verdict(V, reason, report) for V in widths]

    monkeypatch.setattr(gpus, 'first', lambda ids: gpu)
    monkeypatch.setattr(verdict_lib, 'decide', decide)
    return questions

  return on
