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
  texts, numbers = _texts(windows, segment_ids), _number(pairs(windows))
  is_repeated = _distances(texts, numbers) > 0
  texts_with = np.bincount(numbers[~is_repeated])  # each text has one first
  is_rare = texts_with <= max(COMMON * (texts.max() + 1), 1)
  return (is_repeated & is_rare[numbers]).reshape(len(windows), -1)


def distances(
    windows: np.ndarray, segment_ids: np.ndarray | None = None
) -> np.ndarray:
  """Returns how many tokens ago the pair of each label was last read.

  Args:
    windows, segment_ids: see `recallable`.

  Returns:
    int64 [N, L], for the labels `windows[:, 1:]`; 0 where their text has not
    had the pair before.
  """
  found = _distances(_texts(windows, segment_ids), _number(pairs(windows)))
  return found.reshape(len(windows), -1)


def pairs(windows: np.ndarray) -> np.ndarray:
  """Maps windows [N, L + 1] to int64 [N, L]: each token and its label as one.

  Tokens are below 2**31.
  """
  return windows[:, :-1].astype(np.int64) << 32 | windows[:, 1:]


def _texts(windows, segment_ids):
  """The text of each position, int [N * L], from 0."""
  N, L = windows.shape[0], windows.shape[1] - 1
  texts = np.repeat(np.arange(N), L)
  if segment_ids is None:
    return texts
  return _number(L * texts + segment_ids.ravel())


def _number(x):
  """Replaces equal values by equal numbers 0, 1, 2, …, in one axis."""
  return np.unique(x.ravel(), return_inverse=True)[1]


def _distances(texts, numbers):
  """`distances` of positions [n], whose texts and pairs are numbered."""
  keys = (numbers.max(initial=0) + 1) * texts + numbers
  order = np.argsort(keys, kind='stable')
  is_same = np.diff(keys[order]) == 0
  found = np.zeros(len(keys), np.int64)
  found[order[1:]] = np.diff(order) * is_same
  return found
