"""Which next tokens a model could recall from the text before them."""

import numpy as np

# A pair of tokens in more than this share of the texts is common language.
COMMON = 0.1


def recallable(
    windows: np.ndarray, segment_ids: np.ndarray | None = None
) -> np.ndarray:
  """Finds the labels that complete a rare pair which occurred before.

  The label of position t can be recalled if the pair (token, label) occurs at
  an earlier position of the same text. A text is the window, or the document if
  documents do not see each other. Pairs in more than one text and in more than
  `COMMON` of all texts are left out, since a model knows them without recall.

  Args:
    windows: int [N, L + 1], consecutive tokens, below 2**31.
    segment_ids: int [N, L], the number of the document of each position in its
      window, from 0; None if documents see each other.

  Returns:
    bool [N, L], for the labels `windows[:, 1:]`.

  Source: Arora et al. 2023 (Zoology), https://arxiv.org/abs/2312.04927, where
  the count in the training data decides whether a pair is rare. Counting texts
  needs no training data, and a name that is frequent in one document is rare.
  """
  texts, numbers = _texts(windows, segment_ids), _number(pairs(windows))
  is_repeated = _distances(texts, numbers) > 0
  texts_with = np.bincount(numbers[~is_repeated])  # one first occurrence a text
  is_rare = texts_with <= max(COMMON * (texts.max() + 1), 1)
  return (is_repeated & is_rare[numbers]).reshape(len(windows), -1)


def distances(
    windows: np.ndarray, segment_ids: np.ndarray | None = None
) -> np.ndarray:
  """Returns how many tokens ago the pair of each label was last read.

  Args:
    windows, segment_ids: see `recallable`.

  Returns:
    int64 [N, L], for the labels `windows[:, 1:]`; 0 if the pair does not occur
    earlier in the text.
  """
  found = _distances(_texts(windows, segment_ids), _number(pairs(windows)))
  return found.reshape(len(windows), -1)


def pairs(windows: np.ndarray) -> np.ndarray:
  """Maps windows [N, L + 1] to int64 [N, L]: token and label as one number.

  Tokens must be below 2**31.
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
  """Numbers the distinct values 0, 1, 2, …; returns one axis."""
  return np.unique(x.ravel(), return_inverse=True)[1]


def _distances(texts, numbers):
  """As `distances`, for positions [n] with numbered texts and pairs."""
  keys = (numbers.max(initial=0) + 1) * texts + numbers
  order = np.argsort(keys, kind='stable')
  is_same = np.diff(keys[order]) == 0
  found = np.zeros(len(keys), np.int64)
  found[order[1:]] = np.diff(order) * is_same
  return found
