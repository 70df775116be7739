import json

import pytest

from jrt_jax.training import checkpoint_integrity


@pytest.mark.parametrize('name', ['state/a', 'state\n/a'])
def test_a_file_that_is_missing_is_named_in_one_line(tmp_path, name):
  (tmp_path / '7').mkdir()
  (tmp_path / '7' / checkpoint_integrity.DIGESTS).write_text(
      json.dumps({name: 'ab'})
  )
  with pytest.raises(ValueError) as error:
    checkpoint_integrity.newest(tmp_path)
  assert f'7: {name!r} is missing' in str(error.value)
