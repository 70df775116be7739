from html import parser
import re
from xml.etree import ElementTree

import pytest

from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import page
from jrt_jax.reproduce import runner

_VOID = {'meta', 'link', 'img', 'br', 'hr', 'input'}


class Reader(parser.HTMLParser):
  """Checks that what is opened is closed, and collects the text."""

  def __init__(self):
    super().__init__()
    self.open, self.names, self.said = [], [], ''

  def handle_starttag(self, tag, attrs):
    self.names.append(tag)
    if tag not in _VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.names.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] != 'style':
      self.said += data


@pytest.fixture
def read(fake, tmp_path):
  """Renders the page; returns its reader."""

  def read(measured=True):
    if measured:
      runner.run(
          'fake',
          fake.exhibit(),
          exhibit.Request('cpu'),
          tmp_path,
          command='python -m fake',
          tell=str,
      )
    path = page.write({'fake': fake.exhibit()}, tmp_path)
    reader = Reader()
    reader.feed(path.read_text())
    assert not reader.open
    reader.said = ' '.join(reader.said.split())
    return reader

  return read


def test_the_page_says_what_was_published_found_and_how(read):
  said = read().said
  for part in (
      'Squares <of numbers>',
      'Euclid',
      'Holds at this scale. So they are.',
      '4.7 [−5.4, 14.7]',
      'chance',
      'python -m fake',
      '3 jobs',
      '1,234 GPU hours',
      'abacus',
  ):
    assert part in said


def test_curves_are_a_picture_that_needs_no_other_file(read, tmp_path):
  read()
  text = (tmp_path / 'fake.svg').read_text()
  picture = ElementTree.fromstring(text)
  words = [x.text for x in picture.iter() if x.tag.endswith('text')]
  assert {'ours', 'n', 'n²'} <= {*words}
  assert not re.search(r'url\(|@import|href=', text)
  marks = [x for x in picture.iter() if x.get('class') == 's1']
  assert len(marks) == 1 + 3  # in the legend, and the squares of three numbers


def test_the_page_needs_no_script_and_no_other_file(read, tmp_path):
  reader = read()
  assert not {'script', 'link', 'img', 'iframe'} & {*reader.names}
  html = (tmp_path / 'index.html').read_text()
  assert not re.search(r'url\(|@import|\bsrc=', html)
  assert 'svg' in reader.names and '@media print' in html


def test_drawings_have_a_mark_for_each_known_figure(read, tmp_path):
  read()
  html = (tmp_path / 'index.html').read_text()
  # In the table two figures are known, and two legends; curves have 3 and 1.
  assert html.count('<path class="s0"') == 2
  assert html.count('<path class="s1"') == 2 + 3 + 1


def test_what_was_not_measured_says_so_and_how_it_would_be(read):
  said = read(measured=False).said
  assert 'Not measured. To measure it: python -m jrt_jax.reproduce fake' in said


def test_figures_of_another_version_are_as_if_there_were_none(
    fake, read, tmp_path
):
  read()
  other = fake.exhibit()._replace(show=lambda r: r['n1'].figures['cube'])
  found = page.section('fake', other, tmp_path)
  assert found.verdict.word == 'unmeasured'
  assert 'fake.json has other figures' in found.verdict.sentence
  assert 'So they are' not in page.render([found])
