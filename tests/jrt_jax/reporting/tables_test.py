from jrt_jax.reporting import tables

ROWS = [['', 'tokens', 'loss'], ['jrt', '1,024', '3.5'], ['based', '8', '–']]


def test_columns_are_as_wide_as_their_widest_cell():
  assert tables.aligned(iter(ROWS)).splitlines() == [
      '       tokens  loss',
      'jrt    1,024   3.5',
      'based  8       –',
  ]


def test_the_last_side_is_that_of_all_columns_that_follow():
  assert tables.aligned(ROWS, '<>').splitlines() == [
      '       tokens  loss',
      'jrt     1,024   3.5',
      'based       8     –',
  ]
