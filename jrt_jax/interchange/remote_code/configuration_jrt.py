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
  """

  model_type = 'jrt'
  keys_to_ignore_at_inference = ['past_key_values']

  def __init__(
      self,
      model=None,
      prefix_capacity=0,
      prefix_pad_id=None,
      sequence_length=2048,
      training=None,
      **kwargs,
  ):
    self.model = model or {}
    self.prefix_capacity = prefix_capacity
    self.prefix_pad_id = prefix_pad_id
    self.sequence_length = sequence_length
    self.training = training
    # Under these names other programs look for them.
    kwargs |= {
        'vocab_size': self.model.get('vocab_size'),
        'hidden_size': self.model.get('width'),
        'num_hidden_layers': len(self.model.get('mixers', ())),
        'num_attention_heads': self.model.get('num_heads'),
        'max_position_embeddings': sequence_length,
    }
    # The table of embeddings predicts, too: there is no second one to tie.
    super().__init__(**kwargs | {'tie_word_embeddings': False})
