"""Figures that the paper and the report have published, to compare with ours.

Accuracies are percent ("contains"). Sources: Arora et al. 2024, "Just read
twice" (https://arxiv.org/abs/2407.05483), and the student report on dynamic
prefixes, feature maps and hierarchical prompts, which has neither seeds nor
intervals.
"""

from typing import NamedTuple

TASKS = ('FDA', 'SWDE', 'NQ', 'SQuAD', 'TriviaQA', 'DROP')
ROWS_READ = 1102 + 1111 + 3157 + 2984 + 1698 + 2084  # of these tasks, Table 7


class Row(NamedTuple):
  """A model in Table 1."""

  model: str
  size: str  # parameters / tokens of training
  default: tuple[float, ...]  # percent, by TASKS
  twice: tuple[float, ...]

  @property
  def is_recurrent(self) -> bool:
    return self.model != 'Transformer++'

  @property
  def parameters(self) -> float:
    """The number of parameters, from `size`."""
    number = self.size.split('/')[0]
    return float(number[:-1]) * {'M': 1e6, 'B': 1e9}[number[-1]]


# Table 1: a model, and its figures by TASKS for the context read once, and twice
# (JRT-Prompt).
_TABLE_1 = """\
Transformer++ 1.3B/10B
  74.4 41.4 28.2 39.0 49.5 22.3  86.1 52.5 31.9 53.1 49.3 33.6
Mamba 1.3B/10B
  23.3 15.5 19.4 26.6 46.4 21.3  40.3 31.8 25.8 48.5 51.1 32.1
Based 1.3B/10B
  48.6 27.6 19.7 31.0 44.1 19.5  58.9 44.7 28.4 46.7 51.9 34.6
Transformer++ 1.3B/50B
  83.7 50.8 32.8 41.1 56.6 21.5  89.2 65.0 37.5 58.1 58.8 37.9
Mamba 1.3B/50B
  41.9 32.6 26.9 31.5 54.9 20.4  55.7 45.4 33.9 53.5 56.7 33.8
Based 1.3B/50B
  60.2 37.1 29.4 38.9 54.5 21.7  68.3 54.0 35.2 56.3 57.6 39.1
GLA 1.3B/100B
  48.3 37.7 26.6 34.7 55.5 19.6  68.6 53.6 31.3 54.8 54.6 33.3
GLA 2.7B/100B
  47.1 43.6 27.1 37.2 57.9 22.2  65.8 54.5 32.9 55.7 57.0 34.0
Mamba 130M/300B
  25.7 17.5 16.8 27.1 43.5 17.4  32.8 31.5 21.7 51.9 50.1 30.7
Mamba 370M/300B
  41.9 27.6 23.8 34.9 53.6 19.3  58.3 42.2 31.1 51.0 51.7 33.2
Mamba 1.4B/300B
  45.8 37.6 31.0 39.9 60.5 20.9  60.9 46.0 36.6 59.6 61.3 36.4
Mamba 2.8B/300B
  54.3 38.9 33.5 43.9 66.2 19.8  66.6 48.9 40.1 59.4 63.9 36.9
Mamba-2 130M/300B
  32.2 29.5 20.6 30.4 43.7 18.0  50.9 43.3 28.9 47.0 47.2 34.0
Mamba-2 370M/300B
  60.8 38.3 26.6 35.3 54.6 22.4  76.7 52.1 33.6 51.8 54.7 36.3
Mamba-2 1.3B/300B
  66.8 50.0 33.6 42.9 63.8 23.2  74.7 59.6 40.5 59.6 62.4 36.6
Mamba-2 2.7B/300B
  68.7 55.2 34.4 45.4 66.4 23.0  81.6 60.8 41.7 59.4 66.5 42.5
"""


def _rows(text):
  lines = text.splitlines()
  for name, cells in zip(lines[::2], lines[1::2]):
    figures = tuple(map(float, cells.split()))
    model, size = name.split()
    yield Row(model, size, figures[: len(TASKS)], figures[len(TASKS) :])


TABLE_1 = tuple(_rows(_TABLE_1))

# The student report. Table 1: fixed and dynamic prefixes of JRT-RNN.
REPORT_DYNAMIC_PREFIX = {'recall, %': (46.1, 48.2), 'time, ms': (150.0, 158.0)}

# Table 2: recall (%) and perplexity of feature maps.
REPORT_FEATURE_MAPS = {
    'linear': (48.3, 35.2),
    'GELU': (49.7, 34.9),
    'ReLU': (47.5, 35.6),
    'Gaussian': (49.0, 35.1),
    'MLP': (50.4, 34.7),
}

# Table 3: JRT-Prompt and hierarchical prompts.
REPORT_HIERARCHICAL = {'recall, %': (49.2, 51.3), 'time, ms': (155.0, 161.0)}

# Table 5: prefill of one operation on an H100, batch 16, ms by tokens.
TABLE_5 = {
    'attention': {2048: 0.5, 4096: 1.8, 8192: 6.8, 16384: 26.6, 32768: 107.8},
    'based': {2048: 0.3, 4096: 0.6, 8192: 1.2, 16384: 2.3, 32768: 4.5},
    'jrt_prompt': {2048: 0.6, 4096: 1.2, 8192: 2.3, 16384: 4.5, 32768: 9.0},
    'jrt_rnn': {2048: 0.4, 4096: 0.8, 8192: 1.5, 16384: 2.8, 32768: 5.6},
}

# Table 11: 360M, 10B tokens, and Table 12: 360M, 30B tokens, pure stacks; %, of
# (SWDE, FDA) by tokens of the document.
TABLE_11 = {
    'Based': {512: (25.4, 51.0), 1024: (19.1, 30.1), 2048: (15.7, 13.4)},
    'JRT-RNN, no masked tokens': {
        512: (23.9, 38.7),
        1024: (21.6, 39.2),
        2048: (18.5, 18.3),
    },
}
TABLE_12 = {
    'la': {512: (29.6, 25.5), 1024: (21.5, 16.0), 2048: (23.0, 4.6)},
    'pla': {512: (36.8, 57.7), 1024: (27.1, 48.7), 2048: (23.9, 8.2)},
    'la_swa': {512: (25.4, 10.3), 1024: (21.2, 8.1), 2048: (20.8, 3.0)},
    'pla_swa': {512: (35.5, 53.3), 1024: (34.8, 46.5), 2048: (32.1, 30.0)},
}

# Tables 2 and 3: %, by the length of documents: FDA, SWDE and NQ at 512, 1,024
# and 2,048 tokens. In Table 2, JRT-RNN has read those of 512 tokens twice.
LENGTHS = (512, 1024, 2048)
TABLES_2_3 = {
    '360M': {
        'attention': (
            (74.8, 44.7, 27.8),
            (73.0, 43.0, 22.9),
            (65.2, 41.0, 23.0),
        ),
        'Based': ((50.3, 30.4, 19.7), (35.8, 21.6, 14.7), (19.1, 18.9, 13.9)),
        'JRT-RNN': ((82.0, 43.3, 32.9), (66.0, 35.1, 16.2), (28.4, 26.1, 15.4)),
    },
    '1.3B': {
        'attention': (
            (85.6, 55.7, 33.4),
            (83.5, 56.0, 29.9),
            (79.7, 55.5, 30.2),
        ),
        'Based': ((69.3, 47.6, 29.1), (58.8, 40.4, 24.4), (36.1, 37.7, 23.4)),
        'JRT-RNN': ((86.7, 49.4, 38.3), (67.7, 45.7, 25.4), (55.2, 41.4, 26.2)),
    },
}

# Table 4: JRT-RNN on prompts of 512 tokens, half of its prefix; FDA, SWDE, NQ.
TABLE_4 = {
    '360M': {
        'left_pad_reference': (61.9, 38.1, 24.6),
        'read_twice': (82.0, 43.3, 32.9),
        'iterate': (76.3, 40.7, 29.2),
    },
    '1.3B': {
        'left_pad_reference': (75.8, 49.3, 30.9),
        'read_twice': (86.7, 49.4, 38.3),
        'iterate': (80.2, 43.3, 34.2),
    },
}
