"""What an exported JRT model is made of."""

from transformers import PretrainedConfig


class JrtConfig(PretrainedConfig):
  """Sizes and choices, under the names that the training run gives them.

  Args:
    model: `config.model` of the run: mixers, width, num_heads, …
    prefix_capacity: tokens of a prompt that `generate` reads as prefix, at
      most; 0 for a causal model.
    prefix_pad_id: what is read before a prompt that is shorter than the prefix,
      as models that HazyResearch has released do; None: nothing.
    sequence_length: tokens of a training example. Longer texts can be read.
    training: prefix and objective of the run's config, and its tokenizer; for
      who trains on, and for the prefix policy of `generate`.
    weights_sha256: digest of the exported model.safetensors. It is not kept, so
      that weights which are saved from here have none.
    vocab_size: rows of the embedding, if others have been added since.
    **kwargs: as of every `PretrainedConfig`.
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
    # Under these names other programs look for them.
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
