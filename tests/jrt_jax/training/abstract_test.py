import jax
import pytest

from jrt_jax.training import abstract
from jrt_jax.training import run as run_lib


@pytest.mark.parametrize(
    'data',
    [
        {'data__packing': 'concat'},
        {'data__packing': 'documents'},
        {'data__packing': 'prefixed_documents'},
        {'data__documents_in_prefix': 2},
        {
            'data__source': 'set_disjointness',
            'data__synthetic__sizes': ((2, 2),),
            'sequence_length': 32,
        },
    ],
    ids=lambda data: '-'.join(map(str, data.values())),
)
def test_a_batch_that_is_not_read_has_the_shapes_of_one_that_is(
    run_config, tmp_path, data
):
  text = tmp_path / 'text.txt'
  text.write_text('the cat sat on the mat; ' * 4000)
  config = run_config(data__path=str(text), mesh__data=1, **data)
  with run_lib.Run(config, tmp_path / 'run') as run:
    read = run.put(next(run.data))
    expected = abstract.batch(run.config, run.mesh)
  assert expected == {
      name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
      for name, x in read.items()
  }
