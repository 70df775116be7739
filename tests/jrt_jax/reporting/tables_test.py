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


def width(text):
  return max(map(len, text.splitlines()))


def test_long_cells_continue_on_the_next_line():
  facts = [('device', 'a CPU'), ('memory', 'word ' * 30)]
  first, second, *rest = tables.aligned(facts).splitlines()
  assert first == 'device  a CPU'
  assert second.startswith('memory  word')
  assert rest and all(line.startswith('        word') for line in rest)
  assert width(tables.aligned(facts)) <= tables.WIDTH


def test_a_long_name_continues_indented_and_its_numbers_stay_on_the_right():
  rows = [['run', 'tokens'], ['a run ' * 20, '1,024'], ['b', '8']]
  header, first, second, *_, last = tables.aligned(rows, '<>').splitlines()
  assert header.endswith('  tokens') and first.endswith('   1,024')
  assert second.startswith('  ') and last.endswith('       8')
  assert width(tables.aligned(rows, '<>')) <= tables.WIDTH


def test_columns_that_have_no_room_make_another_table_with_the_same_names():
  columns = [f'model {i}' for i in range(9)]
  rows = [['', *columns], ['all', *('1.234 [1.2, 1.3]' for _ in columns)]]
  text = tables.aligned(rows, '<>')
  assert width(text) <= tables.WIDTH
  blocks = [block.splitlines() for block in text.split('\n\n')]
  assert len(blocks) > 1 and all(b[1].startswith('all  ') for b in blocks)
  shown = [name for b in blocks for name in b[0].split('  ') if name.strip()]
  assert [name.strip() for name in shown] == columns


def test_a_paragraph_fits_and_loses_no_word():
  text = 'prefix_linear_attention runs chunked, not mosaic_sm90 ' * 4
  assert width(tables.paragraph(text)) <= tables.WIDTH
  assert tables.paragraph(text).split() == text.split()


def test_an_indented_cell_keeps_its_indentation_where_others_are_wrapped():
  rows = [('  in', 'word ' * 30), ('out', 'x')]
  assert tables.aligned(rows).splitlines()[0].startswith('  in  word')
