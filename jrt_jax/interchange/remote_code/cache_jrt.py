"""What a JRT model remembers of the tokens that it has read."""

from transformers.cache_utils import Cache


class JrtCache(Cache):
  """The states of the layers: tensors [B, ...] whose size stays the same.

  Only `attention` layers, which are no part of JRT models, let it grow.
  """

  is_croppable = False  # sums cannot be taken back

  def __init__(self, num_layers):
    super().__init__(layers=[])
    self.states = [None] * num_layers
    self.position = None  # int [B], of the next token
    self.length = 0  # positions read, padding included

  def write(self, states, context, length):
    """Remembers the states after `length` more positions."""
    self.states = states
    self.position = context.position[:, -1] + 1
    self.length += length

  def get_seq_length(self, layer_idx=0):
    return self.length

  def get_max_length(self, layer_idx=None):
    return -1  # there is none

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
