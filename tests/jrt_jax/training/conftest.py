"""Runs small enough to compile in a second or two."""

import pytest
import tokenizers

from configs import base


@pytest.fixture(scope='session')
def run_config():
  """A function that returns the config of a small run, as plain dicts.

  Its keywords are keys with __ in place of dots.
  """

  def make(**overrides):
    config = base.get_config()
    config.update_from_flattened_dict(
        {
            'steps': 6,
            'batch_size': 8,
            'sequence_length': 16,
            'microbatch_per_device': 4,
            'model.mixers': ('pla',),
            'model.width': 8,
            'model.num_heads': 2,
            'model.mlp_width': 8,
            'model.feature_map.feature_dim': 2,
            'model.vocab_size': 320,
            'model.mask_id': 319,
            'model.dtype': 'float32',
            'data.source': 'text',
            'log_every': 1,
            'eval_every': 0,
            'eval_batches': 1,
            'checkpoint_every': 100,
            'sample_tokens': 4,
        }
    )
    config.update_from_flattened_dict(
        {key.replace('__', '.'): value for key, value in overrides.items()}
    )
    return config.to_dict()

  return make


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
