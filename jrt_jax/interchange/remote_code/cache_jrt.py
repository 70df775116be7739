"""The states of a JRT model after the tokens that it has read."""

from transformers.cache_utils import Cache


class JrtCache(Cache):
  """The states of the layers: tensors [B, ...] of constant size.

  It grows only with `attention` layers, which JRT models do not have.
  """

  is_croppable = False  # tokens cannot be removed from sums

  def __init__(self, num_layers):
    super().__init__(layers=[])
    self.states = [None] * num_layers
    self.position = None  # int [B], the position of the next token
    self.length = 0  # positions read, padding included

  def write(self, states, context, length):
    """Stores the states after `length` more positions."""
    self.states = states
    self.position = context.position[:, -1] + 1
    self.length += length

  def get_seq_length(self, layer_idx=0):
    return self.length

  def get_max_length(self, layer_idx=None):
    return -1  # no maximum

  def reset(self):
    self.__init__(len(self.states))

  def reorder_cache(self, beam_idx):
    self._map(lambda x: x.index_select(0, beam_idx.to(x.device)))

  def batch_select_indices(self, indices):
    self._map(lambda x: x[indices])

  def batch_repeat_interleave(self, repeats):
    self._map(lambda x: x.repeat_interleave(repeats, dim=0))

  def crop(self, tokens_to_remove):
    raise NotImplementedError('a recurrent state cannot forget its last tokens')

  def _map(self, function):
    if self.length:
      self.states = [tuple(map(function, state)) for state in self.states]
      self.position = function(self.position)
