"""The ridge regression of a prefix, with a trained strength."""

import math

import torch
from torch import nn

FIRST = 0.01  # above the least strength, in the first step of training
LEAST, LEAST_BY_FEATURE = 1e-3, 1e-5  # which limit the condition number


class RidgePrefix(nn.Module):
  """s (A + λ s I)⁻¹ B, with A = Σ φ(k) φ(k)ᵀ and B = Σ φ(k) vᵀ.

  s is the mean eigenvalue of A. The strength λ = λ_least + exp(log_strength) is
  that of each head. An empty prefix gives 0.
  """

  def __init__(self, num_heads):
    super().__init__()
    first = torch.full([num_heads], math.log(FIRST))
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

  def forward(self, kk, kv):
    """Maps A [B, H, F, F] and B [B, H, F, V], in float32, to [B, H, F, V]."""
    F = kk.shape[-1]
    least = max(LEAST, LEAST_BY_FEATURE * F)
    strength = least + self.log_strength.float().exp()
    mean = kk.diagonal(dim1=-2, dim2=-1).mean(-1)
    scale = torch.where(mean > 0, mean, 1)[..., None, None]
    identity = torch.eye(F, device=kk.device)
    system = kk / scale + strength[:, None, None] * identity
    return torch.cholesky_solve(kv, torch.linalg.cholesky(system))
