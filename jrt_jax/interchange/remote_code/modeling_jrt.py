"""Just Read Twice language models for transformers, in plain PyTorch.

For generation, a model may read the start of a prompt, its prefix,
non-causally. Everything else is causal. `forward` uses a prefix only if it is
given one, so that scored tokens never see themselves.

Source: Arora et al. 2024, https://arxiv.org/abs/2407.05483.
"""

import dataclasses

import torch
from torch import nn
import torch.nn.functional as F
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import can_return_tuple

from .cache_jrt import JrtCache
from .configuration_jrt import JrtConfig
from .context_jrt import context_of
from .context_jrt import fill_short_prefixes
from .context_jrt import prefix_of
from .generation_jrt import JrtGenerationMixin
from .mixers_jrt import MIXERS

# The name of the cache in outputs: `cache` from transformers 5.24 on.
_OUTPUT_FIELDS = [f.name for f in dataclasses.fields(CausalLMOutputWithPast)]
CACHE = 'cache' if 'cache' in _OUTPUT_FIELDS else 'past_key_values'
IGNORED = -100  # a label that does not count


class RMSNorm(nn.Module):
  """x / sqrt(mean(x²) + ε) · weight, in float32."""

  def __init__(self, width, eps):
    super().__init__()
    self.weight = nn.Parameter(torch.ones(width))
    self.eps = eps

  def forward(self, x):
    x = x.float()
    scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)
    return (x * scale * self.weight.float()).to(self.weight.dtype)


class SwiGLU(nn.Module):
  """(x W_value ⊙ SiLU(x W_gate)) W_out; both input weights are one matrix."""

  def __init__(self, width, mlp_width):
    super().__init__()
    self.fc1 = nn.Linear(width, 2 * mlp_width, bias=False)
    self.fc2 = nn.Linear(mlp_width, width, bias=False)

  def forward(self, x):
    value, gate = self.fc1(x).chunk(2, dim=-1)
    return self.fc2(value * F.silu(gate))


class JrtLayer(GradientCheckpointingLayer):
  """x + mixer(norm(x)), then x + mlp(norm(x)); x keeps its dtype."""

  def __init__(self, model, mixer):
    super().__init__()
    self.mixer_norm = RMSNorm(model['width'], model['norm_eps'])
    self.mixer = MIXERS[mixer](model)
    self.mlp = None
    if model['mlp_width']:
      self.mlp_norm = RMSNorm(model['width'], model['norm_eps'])
      self.mlp = SwiGLU(model['width'], model['mlp_width'])

  def forward(self, x, context, state):
    y, state = self.mixer(self.mixer_norm(x), context, state)
    x = (x + y).to(x.dtype)
    if self.mlp is None:
      return x, state
    return (x + self.mlp(self.mlp_norm(x))).to(x.dtype), state


class JrtPreTrainedModel(PreTrainedModel):
  """Settings for transformers that both models share."""

  config_class = JrtConfig
  base_model_prefix = 'model'
  supports_gradient_checkpointing = True
  _is_stateful = True
  _no_split_modules = ['JrtLayer']
  _skip_keys_device_placement = ['cache', 'past_key_values']
  # Rows of the trained table without a token: kept for further training.
  _keys_to_ignore_on_load_unexpected = ['vocabulary_padding']


class JrtModel(JrtPreTrainedModel):
  """Embeddings, layers and a last norm: tokens to hidden states."""

  def __init__(self, config):
    super().__init__(config)
    model = config.model
    self.embed_tokens = nn.Embedding(config.vocab_size, model['width'])
    self.layers = nn.ModuleList(
        JrtLayer(model, mixer) for mixer in model['mixers']
    )
    self.final_norm = RMSNorm(model['width'], model['norm_eps'])
    self.post_init()

  @can_return_tuple
  def forward(
      self,
      input_ids=None,
      attention_mask=None,
      position_ids=None,
      past_key_values=None,
      inputs_embeds=None,
      use_cache=None,
      output_hidden_states=None,
      prefix_len=None,
      cache=None,
      **kwargs,
  ):
    """Returns hidden states [B, L, E]; see `JrtForCausalLM.forward`."""
    if (input_ids is None) == (inputs_embeds is None):
      raise ValueError('give either input_ids or inputs_embeds')
    if inputs_embeds is None:
      inputs_embeds = self.embed_tokens(input_ids)
    cache = past_key_values if cache is None else cache
    if cache is None and use_cache:
      cache = JrtCache(len(self.layers))
    if output_hidden_states is None:
      output_hidden_states = self.config.output_hidden_states

    residual_dtype = self.config.model.get('residual_dtype', 'float32')
    x = inputs_embeds.to(getattr(torch, residual_dtype))
    L = inputs_embeds.shape[1]
    x, context = self._read_as(
        x, cache, attention_mask, position_ids, prefix_len
    )
    states = [None] * len(self.layers) if cache is None else cache.states
    after, hidden_states = [], ()
    for layer, state in zip(self.layers, states):
      if output_hidden_states:
        hidden_states += (x[:, -L:],)
      x, state = layer(x, context, state)
      after.append(state)
    x = self.final_norm(x[:, -L:])
    if cache is not None:
      cache.write(after, context, L)
    return BaseModelOutputWithPast(
        last_hidden_state=x,
        hidden_states=(*hidden_states, x) if output_hidden_states else None,
        **{CACHE: cache},
    )

  def _read_as(self, x, cache, attention_mask, position_ids, prefix_len):
    """Returns the input of the layers, and its context."""
    if cache is not None and cache.length:
      if position_ids is None:
        steps = torch.arange(x.shape[1], device=x.device)
        position_ids = cache.position.to(x.device)[:, None] + steps
      return x, context_of(x, position_ids=position_ids)
    if cache is not None:
      _check_padding(attention_mask)
    context = context_of(x, attention_mask, position_ids, prefix_len)
    if prefix_len is None or self.config.prefix_pad_id is None:
      return x, context
    filler = self.embed_tokens.weight[self.config.prefix_pad_id]
    capacity = self.config.prefix_capacity
    return fill_short_prefixes(x, context, prefix_len, capacity, filler)


class JrtForCausalLM(JrtPreTrainedModel, JrtGenerationMixin):
  """The language model; the embedding table is also the output matrix."""

  _tied_weights_keys = {'lm_head.weight': 'model.embed_tokens.weight'}

  def __init__(self, config):
    super().__init__(config)
    self.model = JrtModel(config)
    width = config.model['width']
    self.lm_head = nn.Linear(width, config.vocab_size, bias=False)
    self.post_init()

  @can_return_tuple
  def forward(
      self,
      input_ids=None,
      attention_mask=None,
      position_ids=None,
      past_key_values=None,
      inputs_embeds=None,
      labels=None,
      use_cache=None,
      output_hidden_states=None,
      logits_to_keep=0,
      prefix_len=None,
      cache=None,
      **kwargs,
  ):
    """Reads tokens.

    Args:
      input_ids: int [B, L]; or
      inputs_embeds: [B, L, E], embeddings in place of ids.
      attention_mask: [B, L], 0 at padding, on either side of the tokens of a
        row; with a cache, only on the left.
      position_ids: int [B, L], for rotary embeddings; None: from 0 at the first
        token of each row.
      past_key_values, cache: a `JrtCache`, by the older and the newer name. If
        it has read tokens, the new tokens continue them; these have no padding
        and no prefix.
      labels: int [B, L], the ids to predict: label t from the tokens before t.
        -100 is ignored, and so are labels in a prefix, which sees itself.
      use_cache: whether to return a cache.
      output_hidden_states: whether to return the inputs of each layer and of
        the head.
      logits_to_keep: the number of last positions for which to return logits
        (0: all), or their indices.
      prefix_len: how many tokens of a row are its prefix, without padding: one
        number, or int [B]. Text to be scored must not be in it.
      **kwargs: `return_dict`, and arguments of the loss, such as
        `num_items_in_batch`.

    Returns:
      float32 logits [B, L, vocab_size], and if they are asked for the mean
      cross-entropy of the labels, the cache and the hidden states.
    """
    outputs = self.model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=position_ids,
        inputs_embeds=inputs_embeds,
        use_cache=use_cache,
        output_hidden_states=output_hidden_states,
        prefix_len=prefix_len,
        cache=past_key_values if cache is None else cache,
    )
    keep = logits_to_keep
    if isinstance(keep, int):
      keep = slice(-keep, None)  # -0 is the first
    logits = self.lm_head(outputs.last_hidden_state[:, keep]).float()
    loss = None
    if labels is not None:
      labels = _outside_prefix(labels, attention_mask, prefix_len)
      loss = self.loss_function(
          logits, labels, self.config.vocab_size, **kwargs
      )
    return CausalLMOutputWithPast(
        loss=loss,
        logits=logits,
        hidden_states=outputs.hidden_states,
        **{CACHE: outputs.get(CACHE)},
    )


def _check_padding(attention_mask):
  if attention_mask is not None and not attention_mask[:, -1].all():
    raise ValueError(
        'padding must be on the left of the tokens to continue them: set'
        " tokenizer.padding_side = 'left'"
    )


def _outside_prefix(labels, attention_mask, prefix_len):
  """Labels [B, L], without those in the prefix."""
  token = torch.ones_like(labels) if attention_mask is None else attention_mask
  prefix = prefix_of(token.bool(), prefix_len)
  prefix = F.pad(prefix, (0, labels.shape[1] - prefix.shape[1]))
  return labels.masked_fill(prefix, IGNORED)
