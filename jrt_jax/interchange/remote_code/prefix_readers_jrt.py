"""What queries read of a prefix in place of the sum of φ(k) vᵀ."""

import math

import torch
from torch import nn

FIRST = 0.01  # above the least strength, in the first step of training
LEAST, LEAST_BY_FEATURE = 1e-3, 1e-5  # which limit the condition number


class PrefixReader(nn.Module):
  """A reader of A = Σ φ(k) φ(k)ᵀ and B = Σ φ(k) vᵀ.

  It has a trained strength for each head. An empty prefix gives 0.
  """

  def __init__(self, num_heads, first):
    super().__init__()
    first = torch.full([num_heads], math.log(first))
    self.log_strength = nn.Parameter(first)

  @staticmethod
  def read(sums, phi, v):
    """A and B after more features [B, H, C, F] and values [B, H, C, V].

    They are float32 under autocast, too: a rounded A can have negative
    eigenvalues.
    """
    with torch.autocast(phi.device.type, enabled=False):
      phi, v = phi.float(), v.float()
      return sums[0] + phi.mT @ phi, sums[1] + phi.mT @ v

  def strength(self):
    """The strength of each head, [H, 1, 1]."""
    return self.log_strength.float().exp()[:, None, None]

  def forward(self, kk, kv):
    """Maps A [B, H, F, F] and B [B, H, F, V], in float32, to [B, H, F, V]."""
    raise NotImplementedError


class RidgePrefix(PrefixReader):
  """s (A + λ s I)⁻¹ B, where s is the mean eigenvalue of A.

  The strength λ is λ_least + exp(log_strength).
  """

  def __init__(self, num_heads):
    super().__init__(num_heads, FIRST)

  def forward(self, kk, kv):
    F = kk.shape[-1]
    strength = max(LEAST, LEAST_BY_FEATURE * F) + self.strength()
    identity = torch.eye(F, device=kk.device)
    system = kk / (_trace(kk, nothing=F) / F) + strength * identity
    return torch.cholesky_solve(kv, torch.linalg.cholesky(system))


class ContractedPrefix(PrefixReader):
  """B - β A B / tr A, with the strength β."""

  def __init__(self, num_heads):
    super().__init__(num_heads, 1.0)

  def forward(self, kk, kv):
    with torch.autocast(kk.device.type, enabled=False):
      return kv - self.strength() / _trace(kk, nothing=1) * (kk @ kv)


# By `config.model.pla.prefix_reader`; the sum needs no reader.
READERS = {'ridge': RidgePrefix, 'contracted': ContractedPrefix}


def _trace(kk, nothing):
  """The traces [B, H, 1, 1]; `nothing` where they are 0."""
  trace = kk.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
  return torch.where(trace > 0, trace, nothing)
