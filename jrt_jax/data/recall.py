"""Which next tokens a model could recall from what it has just read."""

import numpy as np

# A pair of tokens in more than this share of the texts is common language.
COMMON = 0.1


def recallable(
    windows: np.ndarray, segment_ids: np.ndarray | None = None
) -> np.ndarray:
  """Finds the labels that end a rare pair which their text has had before.

  The label of position t can be recalled if the pair (token, label) has already
  stood at an earlier position of the same text: of the window, or of the
  document where documents do not see each other. Common pairs are left out, for
  they are known without looking back: those in more than `COMMON` of the texts
  (and in more than one).

  Args:
    windows: int [N, L + 1], consecutive tokens, below 2**31.
    segment_ids: int [N, L], which document of its window a position is in, from
      0; None if documents see each other.

  Returns:
    bool [N, L], for the labels `windows[:, 1:]`.

  Source: Arora et al. 2023 (Zoology), https://arxiv.org/abs/2312.04927, where a
  pair is rare by its count in the training data. Counting texts needs no
  training data, and a name that fills one document stays rare.
  """
  N, L = windows.shape[0], windows.shape[1] - 1
  texts = np.repeat(np.arange(N), L)
  if segment_ids is not None:
    texts = _number(L * texts + segment_ids.ravel())
  pairs = windows[:, :-1].astype(np.int64) << 32 | windows[:, 1:]
  pairs = _number(pairs.ravel())
  num_pairs = pairs.max() + 1
  _, first = np.unique(num_pairs * texts + pairs, return_index=True)
  is_repeated = np.ones(N * L, bool)
  is_repeated[first] = False
  texts_with = np.bincount(pairs[first], minlength=num_pairs)
  is_rare = texts_with <= max(COMMON * (texts.max() + 1), 1)
  return (is_repeated & is_rare[pairs]).reshape(N, L)


def _number(x):
  """Replaces equal values by equal numbers 0, 1, 2, …"""
  return np.unique(x, return_inverse=True)[1]
