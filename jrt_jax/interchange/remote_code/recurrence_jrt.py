"""What `gdn` and `mamba2` share: a recurrence, its decay, and convolutions."""

import math

import torch
from torch import nn
import torch.nn.functional as F

CHUNK = 64  # tokens that the recurrence reads at once


class Decay(nn.Module):
  """log a = -exp(A_log) Δ with Δ = softplus(x + dt_bias), by head, in float32.

  Source: Mamba-2, https://arxiv.org/abs/2405.21060.
  """

  def __init__(self, num_heads):
    super().__init__()
    logs = torch.empty(num_heads).uniform_(math.log(1e-3), math.log(0.1))
    self.A_log = nn.Parameter(torch.empty(num_heads).uniform_(1, 16).log())
    self.dt_bias = nn.Parameter(logs.exp().expm1().log())

  def forward(self, x, written):
    """Maps [B, L, H] to log a and Δ, both 0 where bool [B, L] is False.

    There the state stays as it is.
    """
    step = F.softplus(x.float() + self.dt_bias.float())
    step = step.masked_fill(~written[..., None], 0)
    return -self.A_log.float().exp() * step, step


def depthwise(channels, kernel, bias=False):
  """A convolution with K taps of its own for each channel."""
  return nn.Conv1d(channels, channels, kernel, groups=channels, bias=bias)


def convolved(conv, u, token, tail):
  """Convolves [B, L, I] causally; padding counts as 0.

  `tail` is u of the K - 1 positions before, [B, K - 1, I], or None. Returns the
  result [B, L, I] and the next tail.
  """
  u = u.masked_fill(~token[..., None], 0)
  past = conv.kernel_size[0] - 1
  if tail is None:
    tail = u.new_zeros(len(u), past, u.shape[-1])
  u = torch.cat([tail, u], dim=1)
  return conv(u.transpose(1, 2)).transpose(1, 2), u[:, -past:]


def gated_delta_rule(q, k, v, log_decay, beta, state):
  """Reads tokens in chunks; time and memory are linear in L.

  S_t = a_t S_{t-1} + k_t u_tᵀ and y_t = q_t S_t. Without beta, u_t is v_t. With
  it, u_t = beta_t (v_t - k_t a_t S_{t-1}) replaces what the key held.

  Args:
    q, k: [B, L, G, D]; H / G heads share each.
    v: [B, L, H, V].
    log_decay: float32 [B, L, H], log a.
    beta: float32 [B, L, H], or None.
    state: float32 [B, H, D, V], S before the first token, or None for 0.

  Returns:
    Outputs, float32 [B, L, H, V], and the state after the last token.

  Source: Gated DeltaNet, https://arxiv.org/abs/2412.06464; without beta,
  Mamba-2, https://arxiv.org/abs/2405.21060.
  """
  H = v.shape[2]
  q, k = (x.repeat_interleave(H // x.shape[2], dim=2) for x in (q, k))
  if state is None:
    state = v.new_zeros(len(v), H, k.shape[-1], v.shape[-1]).float()
  beta = torch.ones_like(log_decay[:, :0]) if beta is None else beta
  arrays = [x.float().transpose(1, 2) for x in (q, k, v, log_decay, beta)]
  outputs = []
  for start in range(0, v.shape[1], CHUNK):
    chunk = (x[:, :, start : start + CHUNK] for x in arrays)
    y, state = _read(*chunk, state)
    outputs.append(y)
  return torch.cat(outputs, dim=2).transpose(1, 2), state


def _read(q, k, u, log_decay, beta, state):
  """Outputs [B, H, C, V] of a chunk, and the state after it."""
  total = log_decay.cumsum(-1)
  ratio = total[..., :, None] - total[..., None, :]
  later = torch.ones_like(ratio, dtype=torch.bool).triu(1)
  ratio = ratio.masked_fill(later, -math.inf).exp()  # at most 1
  since = total.exp()[..., None]
  if beta.shape[-1]:
    beta = beta[..., None]
    system = (beta * (k @ k.mT) * ratio).tril(-1)
    new = beta * (u - since * (k @ state))
    # Reads what is below the diagonal, and takes the diagonal as 1.
    u = torch.linalg.solve_triangular(
        system, new, upper=False, unitriangular=True
    )
  y = ((q @ k.mT) * ratio) @ u + since * (q @ state)
  left = (total[..., -1:] - total).exp()[..., None]
  state = since[..., -1:, :] * state + k.mT @ (left * u)
  return y, state
