"""The config of an exported JRT model."""

from transformers import PretrainedConfig


class JrtConfig(PretrainedConfig):
  """Sizes and settings, with the names of the training run's config.

  Args:
    model: `config.model` of the run: mixers, width, num_heads, …
    prefix_capacity: the most tokens of a prompt that `generate` reads as
      prefix; 0 for a causal model.
    prefix_pad_id: the id that pads a prompt shorter than the prefix, as in
      models that HazyResearch has released; None: no padding.
    sequence_length: the tokens of a training example. Longer texts can be read.
    training: prefix and objective of the run's config, and its tokenizer, to
      continue training, and for the prefix policy of `generate`.
    weights_sha256: the digest of the exported model.safetensors. It is not
      stored, so that weights saved from here have none.
    vocab_size: the rows of the embedding, if rows were added later.
    **kwargs: arguments of `PretrainedConfig`.
  """

  model_type = 'jrt'
  keys_to_ignore_at_inference = ['cache', 'past_key_values']

  def __init__(
      self,
      model=None,
      prefix_capacity=0,
      prefix_pad_id=None,
      sequence_length=2048,
      training=None,
      weights_sha256=None,
      vocab_size=None,
      **kwargs,
  ):
    del weights_sha256
    self.model = model or {}
    self.prefix_capacity = prefix_capacity
    self.prefix_pad_id = prefix_pad_id
    self.sequence_length = sequence_length
    self.training = training
    # The names under which other programs look for these values.
    kwargs |= {
        'vocab_size': vocab_size or self.model.get('vocab_size'),
        'hidden_size': self.model.get('width'),
        'num_hidden_layers': len(self.model.get('mixers', ())),
        'num_attention_heads': self.model.get('num_heads'),
        'max_position_embeddings': sequence_length,
        'initializer_range': self.model.get('init_std', 0.02),
        'tie_word_embeddings': True,
    }
    super().__init__(**kwargs)
