import pytest

from jrt_jax.reproduce import charts
from jrt_jax.reproduce.exhibits import documents

EXHIBIT = documents.EXHIBIT


def results(trained, several, one=1.0):
  """With what ridge has right with one document, and with each number more."""
  found = trained(EXHIBIT, lambda settings: 1.0)
  for done in found.values():
    by_count = dict(zip((1, 2, 4, 8), (one, *several)))
    for count, share in by_count.items():
      done.figures[f'documents_{count}'] = share
  return found


@pytest.mark.parametrize(
    'several, one, word',
    [
        ((1.0, 0.99, 0.96), 1.0, 'holds'),
        ((1.0, 0.99, 0.9), 1.0, 'fails'),
        ((0.9, 0.9, 0.9), 0.9, 'void'),
    ],
)
def test_no_number_of_documents_may_fall_far_behind_one(
    trained, several, one, word
):
  found = results(trained, several, one)
  assert EXHIBIT.verdict(found).word == word
  for piece in EXHIBIT.show(found):
    charts.check(piece)
