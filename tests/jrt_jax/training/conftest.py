"""A tokenizer like those that runs read."""

import pytest
import tokenizers


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
