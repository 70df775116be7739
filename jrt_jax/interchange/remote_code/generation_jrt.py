"""`generate` for JRT models: prompts have prefixes, as in training."""

import torch
from transformers import GenerationMixin

from .prefix_jrt import looks_at_tokens
from .prefix_jrt import prefix_length


class JrtGenerationMixin(GenerationMixin):
  """Generation with prefixes of prompts, by the policy of the training run."""

  def generate(
      self, inputs=None, *args, attention_mask=None, prefix_len=None, **kwargs
  ):
    """Continues prompts; see `GenerationMixin.generate`.

    Args:
      inputs: int [B, L], or `input_ids` by name, or `inputs_embeds`.
      *args: see `GenerationMixin.generate`.
      attention_mask: [B, L], 0 at padding, which must be on the left.
      prefix_len: how many tokens of each prompt are read non-causally, one
        number or int [B]; None: the number that the policy of the training run
        gives, at most `config.prefix_capacity`.
      **kwargs: see `GenerationMixin.generate`.
    """
    ids = kwargs.get('input_ids') if inputs is None else inputs
    prompts = kwargs.get('inputs_embeds') if ids is None else ids
    if prompts is not None:
      if attention_mask is None:
        attention_mask = prompts.new_ones(prompts.shape[:2], dtype=torch.long)
      if prefix_len is None:
        prefix_len = self._prefix_lengths(ids, attention_mask)
      # A tensor, so that beams share it; within the prompt, which will grow.
      prefix_len = torch.as_tensor(prefix_len, device=prompts.device)
      prefix_len = prefix_len.minimum(attention_mask.sum(1))
      kwargs |= {'attention_mask': attention_mask, 'prefix_len': prefix_len}
    return super().generate(inputs, *args, **kwargs)

  def _prefix_lengths(self, ids, attention_mask):
    """The prefix lengths of the policy; `ids` is None for embeddings."""
    if not looks_at_tokens(self.config):
      return self.config.prefix_capacity
    if ids is None:
      raise ValueError(
          'prefix_len must be given with inputs_embeds, for the prefix policy of'
          ' this model looks at tokens'
      )
    prompts = [x[m] for x, m in zip(ids.cpu(), attention_mask.bool().cpu())]
    return [prefix_length(x.numpy(), self.config) for x in prompts]

  @classmethod
  def _supports_default_dynamic_cache(cls):
    return False  # `forward` makes the cache
