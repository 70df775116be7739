"""Segmentation loses nothing, and splits where a reader would."""

import functools

import hypothesis
from hypothesis import strategies as st
import pytest

from jrt_jax.prompting import segment

count_words = segment.count_words

# Any Unicode, and texts that look more like texts.
DOCUMENTS = st.text() | st.lists(
    st.sampled_from(
        [
            *[
                'word',
                ' words',
                'Dr.',
                'No. 5',
                '3.5',
                'U.S.',
                '「本」。',
                'x' * 99,
            ],
            *[
                '. ',
                '! ',
                '." ',
                '\n',
                '\n\n',
                '\r\n\r\n',
                ' | ',
                '\t',
                '\u3000',
            ],
            *['A', 'é', '\U0001f600', '\u0301', '\x1c', '\u2028', '\ud800'],
        ]
    ),
    max_size=80,
).map(''.join)
properties = functools.partial(
    hypothesis.settings, deadline=None, derandomize=True
)


def texts(segments):
  return [s.text for s in segments]


@properties(max_examples=300)
@hypothesis.given(DOCUMENTS, st.integers(1, 40))
def test_joined_segments_are_the_document(document, width):
  for segments in (
      segment.paragraphs(document),
      segment.sentences(document),
      segment.windows(document, width=width, overlap=0),
  ):
    assert ''.join(texts(segments)) == document
    for start, end, text in segments:
      assert text and text == document[start:end]


@properties()
@hypothesis.given(DOCUMENTS)
def test_no_sentence_crosses_the_end_of_a_paragraph(document):
  ends = {s.end for s in segment.sentences(document)}
  assert ends >= {p.end for p in segment.paragraphs(document)}


@properties()
@hypothesis.given(DOCUMENTS)
def test_segments_have_the_lengths_that_are_promised(document):
  for sentence in segment.sentences(document):
    assert count_words(sentence.text) <= 50
  for paragraph in segment.paragraphs(document):
    assert count_words(paragraph.text) <= 200


@properties(max_examples=300)
@hypothesis.given(
    DOCUMENTS.filter(bool),
    st.integers(1, 40),
    st.sampled_from([0, 0.1, 0.2, 0.3, 0.5]),
)
def test_windows_leave_no_gap_and_only_go_on(document, width, overlap):
  windows = segment.windows(document, width=width, overlap=overlap)
  assert windows[0].start == 0
  assert windows[-1].end == len(document)
  for this, following in zip(windows, windows[1:]):
    assert this.start <= following.start <= this.end <= following.end


@pytest.mark.parametrize(
    'overlap, expected',
    [
        (0, [(0, 20), (20, 40), (40, 47)]),
        (0.1, [(0, 20), (18, 38), (36, 47)]),
        (0.2, [(0, 20), (16, 36), (32, 47)]),
        (0.3, [(0, 20), (14, 34), (28, 47)]),
    ],
)
def test_windows_share_what_was_asked_for(overlap, expected):
  words = [f' w{i}' for i in range(47)]  # one sentence
  windows = segment.windows(''.join(words), width=20, overlap=overlap)
  assert texts(windows) == [''.join(words[i:j]) for i, j in expected]


def test_windows_end_where_sentences_do_if_that_is_near():
  sentence = 'One two three four five six seven eight nine.'
  document = ' '.join([sentence] * 6)
  windows = segment.windows(document, width=20, overlap=0)
  assert [count_words(w.text) for w in windows] == [18, 22, 14]
  assert windows[0].text.endswith('nine.')  # 18 is within 2 of 20
  assert windows[1].text.endswith('four')  # 36 is not within 2 of 40


def test_a_short_document_is_one_window():
  assert texts(segment.windows('A b c.')) == ['A b c.']
  assert not segment.windows('')


@pytest.mark.parametrize(
    'document, expected',
    [
        ('A b. C d! E f? G', ['A b.', ' C d!', ' E f?', ' G']),
        ('He said "so." They left.', ['He said "so."', ' They left.']),
        ('Wait ... what. "It" (is).', ['Wait ... what.', ' "It" (is).']),
        ('Dr. A. Lee of the U.S. Army met Mrs. Ray.', None),
        ('See Fig. 3, No. 5 and vol. 2, e.g. Table 1.', None),
        ('It rose by 3.5 to 4.25 points.', None),
        ('First.Second', None),
        ('本を読む。「はい。」行く。', ['本を読む。', '「はい。」', '行く。']),
        ('Name | Value\nA | 1', ['Name', ' | Value', '\nA', ' | 1']),
        ('\n A.\n', ['\n A.\n']),
    ],
)
def test_sentences_end_where_a_reader_would_say(
    document, expected, monkeypatch
):
  monkeypatch.setattr(segment, '_SHORTEST_SENTENCE', 1)
  assert texts(segment.sentences(document)) == (expected or [document])


def test_a_short_sentence_joins_the_next_of_its_paragraph():
  six = 'A b c d e f.'
  document = f'Yes. No. {six} Yes.\n\nTitle\n\n{six}'
  assert texts(segment.sentences(document)) == [
      f'Yes. No. {six} Yes.',
      '\n\nTitle',
      f'\n\n{six}',
  ]


def test_a_long_sentence_is_split_at_white_space_if_it_has_any():
  assert texts(segment.sentences('word ' * 80)) == [
      'word' + ' word' * 39,
      ' word' * 40 + ' ',
  ]
  assert texts(segment.sentences('x' * 2000)) == ['x' * 500] * 4


def test_words_of_scripts_without_spaces_are_counted():
  assert count_words(' One, two\nthree. ') == 3
  assert count_words('electroencephalography') == 2
  assert count_words('我们读两遍。') == 3


def test_paragraphs_are_between_blank_lines():
  document = 'One\ntwo.\n \n\nThree. Four.\n\n'
  assert texts(segment.paragraphs(document)) == [
      'One\ntwo.',
      '\n \n\nThree. Four.\n\n',
  ]


def test_a_document_without_blank_lines_still_has_paragraphs():
  document = 'It is ten words that this sentence has in it. ' * 30
  paragraphs = segment.paragraphs(document)
  assert [count_words(p.text) for p in paragraphs] == [100, 100, 100]


@pytest.mark.parametrize(
    'options, message',
    [
        ({'width': 0}, 'width must be at least 1, got 0'),
        ({'overlap': -0.1}, r'overlap must lie in \[0, 0.5\], got -0.1'),
        ({'overlap': 1}, r'overlap must lie in \[0, 0.5\], got 1'),
    ],
)
def test_windows_that_cannot_be_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    segment.windows('text', **options)
