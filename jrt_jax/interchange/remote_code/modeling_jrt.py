"""Just Read Twice language models for transformers, in plain PyTorch.

A model may read the start of a prompt, its prefix, non-causally before it
generates: `generate` takes as much of the prompt as the model was trained to
read so, and `prefix_len=` another length. All else is causal. `forward` knows
no prefix unless it is given one, so that scored tokens never see themselves.

Source: Arora et al. 2024, https://arxiv.org/abs/2407.05483.
"""

import torch
from torch import nn
import torch.nn.functional as F
from transformers import GenerationMixin
from transformers import PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_jrt import JrtConfig
from .mixers_jrt import Context
from .mixers_jrt import MIXERS
from .prefix_jrt import prefix_length


class JrtCache(Cache):
  """What the layers remember: tensors [B, ...] whose size stays the same.

  Only `attention` layers, which are no part of JRT models, let it grow.
  """

  is_croppable = False  # sums cannot be taken back

  def __init__(self, num_layers):
    super().__init__(layers=[])
    self.states = [None] * num_layers
    self.length = 0  # positions read, padding included

  def get_seq_length(self, layer_idx=0):
    return self.length

  def get_max_length(self, layer_idx=None):
    return -1  # there is none

  def reset(self):
    self.states, self.length = [None] * len(self.states), 0

  def reorder_cache(self, beam_idx):
    self._map(lambda x: x.index_select(0, beam_idx.to(x.device)))

  def batch_select_indices(self, indices):
    self._map(lambda x: x[indices])

  def batch_repeat_interleave(self, repeats):
    self._map(lambda x: x.repeat_interleave(repeats, dim=0))

  def crop(self, tokens_to_remove):
    raise NotImplementedError('a recurrent state cannot forget its last tokens')

  def _map(self, function):
    self.states = [
        state and tuple(map(function, state)) for state in self.states
    ]


class RMSNorm(nn.Module):
  """x / sqrt(mean(x²) + ε) · weight, in float32."""

  def __init__(self, width, eps):
    super().__init__()
    self.weight = nn.Parameter(torch.ones(width))
    self.eps = eps

  def forward(self, x):
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


class JrtLayer(nn.Module):
  """x + mixer(norm(x)), then x + mlp(norm(x)); x stays float32."""

  def __init__(self, model, mixer):
    super().__init__()
    self.mixer_norm = RMSNorm(model['width'], model['norm_eps'])
    self.mixer = MIXERS[mixer](model)
    self.mlp_norm = RMSNorm(model['width'], model['norm_eps'])
    self.mlp = SwiGLU(model['width'], model['mlp_width'])

  def forward(self, x, context, state):
    y, state = self.mixer(self.mixer_norm(x), context, state)
    x = x + y
    return x + self.mlp(self.mlp_norm(x)), state


class JrtForCausalLM(PreTrainedModel, GenerationMixin):
  """The language model; its table of embeddings predicts, too."""

  config_class = JrtConfig
  _no_split_modules = ['JrtLayer']
  _is_stateful = True
  # Rows of the trained table that stand for no token: kept for who trains on.
  _keys_to_ignore_on_load_unexpected = ['vocabulary_padding']

  def __init__(self, config):
    super().__init__(config)
    model = config.model
    self.embed_tokens = nn.Embedding(model['vocab_size'], model['width'])
    self.layers = nn.ModuleList(
        JrtLayer(model, mixer) for mixer in model['mixers']
    )
    self.final_norm = RMSNorm(model['width'], model['norm_eps'])
    self.post_init()

  def forward(
      self,
      input_ids,
      attention_mask=None,
      prefix_len=0,
      past_key_values=None,
      use_cache=False,
      logits_to_keep=0,
      return_dict=True,
  ):
    """Reads tokens.

    Args:
      input_ids: int [B, L].
      attention_mask: [B, L], 0 at padding, which may stand on either side of
        the tokens of a row; with a cache on the left only.
      prefix_len: how many tokens of a row are its prefix, padding not counted:
        one number, or int [B]. No text to be scored may lie in it.
      past_key_values: a `JrtCache`. If it has read something, `input_ids` go on
        there; they have no padding and no prefix.
      use_cache: whether to return one.
      logits_to_keep: of how many last positions to return logits; 0: all.
      return_dict: whether to return a ModelOutput, not a tuple.

    Returns:
      float32 logits [B, L, vocab_size], and the cache.
    """
    cache = past_key_values
    if cache is None and use_cache:
      cache = JrtCache(len(self.layers))
    go_on = cache is not None and cache.length > 0
    if go_on:
      attention_mask, prefix_len = None, 0
    elif cache is not None and attention_mask is not None:
      if not attention_mask[:, -1].all():
        raise ValueError(
            'padding must be on the left of the tokens to go on from them: set'
            " tokenizer.padding_side = 'left'"
        )
    L = input_ids.shape[1]
    input_ids, context = self._read_as(input_ids, attention_mask, prefix_len)
    x = self.embed_tokens(input_ids).float()
    for i, layer in enumerate(self.layers):
      x, state = layer(x, context, cache.states[i] if go_on else None)
      if cache is not None:
        cache.states[i] = state
    if cache is not None:
      cache.length += L
    hidden = self.final_norm(x[:, -(logits_to_keep or L) :])
    logits = F.linear(hidden, self.embed_tokens.weight).float()
    output = CausalLMOutputWithPast(logits=logits, past_key_values=cache)
    return output if return_dict else output.to_tuple()

  def generate(
      self, inputs=None, *args, attention_mask=None, prefix_len=None, **kwargs
  ):
    """Goes on from prompts; see `GenerationMixin.generate`.

    Args:
      inputs: int [B, L], or `input_ids` by name.
      *args: as in `GenerationMixin.generate`.
      attention_mask: [B, L], 0 at padding, which must be on the left.
      prefix_len: how many tokens of each prompt are read non-causally, one
        number or int [B]; None: as many as the policy of the training run says,
        at most `config.prefix_capacity`.
      **kwargs: as in `GenerationMixin.generate`.
    """
    ids = kwargs.get('input_ids') if inputs is None else inputs
    if ids is not None:
      if attention_mask is None:
        attention_mask = torch.ones_like(ids)
      if prefix_len is None:
        prompts = [x[m] for x, m in zip(ids.cpu(), attention_mask.bool().cpu())]
        prefix_len = [prefix_length(x.numpy(), self.config) for x in prompts]
      # A tensor, so that beams share it; within the prompt, which will grow.
      prefix_len = torch.as_tensor(prefix_len, device=ids.device)
      prefix_len = prefix_len.minimum(attention_mask.sum(1))
      kwargs |= {'attention_mask': attention_mask, 'prefix_len': prefix_len}
    return super().generate(inputs, *args, **kwargs)

  def _read_as(self, input_ids, attention_mask, prefix_len):
    """Returns the ids to read, and their context."""
    token = torch.ones_like(input_ids, dtype=torch.bool)
    if attention_mask is not None:
      token = attention_mask.bool()
    prefix_len = torch.as_tensor(prefix_len, device=input_ids.device)
    if self.config.prefix_pad_id is None:
      return input_ids, Context(token, _prefix(token, prefix_len))
    # Released models fill a prefix that is too short, with keys that are 0.
    missing = (self.config.prefix_capacity - prefix_len).clamp(min=0)
    missing = (missing * (prefix_len > 0)).expand(len(input_ids))
    more = int(missing.max())
    input_ids, token = (F.pad(x, (more, 0)) for x in (input_ids, token))
    before = token.int().argmax(1)[:, None] - _positions(token)
    filled = (before > 0) & (before <= missing[:, None])
    input_ids = input_ids.masked_fill(filled, self.config.prefix_pad_id)
    token = token | filled
    prefix = _prefix(token, prefix_len + missing)
    return input_ids, Context(token, prefix, unzeroed=~filled)

  @classmethod
  def _supports_default_dynamic_cache(cls):
    return False  # `forward` makes the cache


def _prefix(token, prefix_len):
  """Bool [B, P], which of the first P tokens are prefix; P is the longest."""
  start = token.int().argmax(1)  # padding stands before it
  end = torch.where(prefix_len > 0, start + prefix_len, 0)
  prefix = token & (_positions(token) < end[:, None])
  return prefix[:, : int(end.max())]


def _positions(token):
  return torch.arange(token.shape[1], device=token.device)
