from absl import flags
import pytest

from jrt_jax import command_line


@pytest.fixture
def out(define):
  """A function that returns the flag --out with this value."""

  def out(value):
    flag = flags.DEFINE_string('out', value, '', flag_values=define())
    flags.FLAGS(['command'])
    return flag

  return out


def test_an_output_is_made_room_for_before_the_work(out, tmp_path):
  file = command_line.output_file(out(f'{tmp_path}/new/folder/a.json'))
  assert file.parent.is_dir() and not file.exists()
  folder = command_line.output_folder(out(f'{tmp_path}/other/folder'))
  assert folder == tmp_path / 'other' / 'folder'
  assert not (tmp_path / 'other').exists()


@pytest.mark.parametrize(
    ('check', 'path', 'message'),
    [
        ('output_file', 'file/a', 'file that can be written.*Not a directory'),
        ('output_file', '', 'file that can be written.*Is a directory'),
        ('output_folder', 'file', 'folder that can be written.*Not a dir'),
        ('output_folder', 'file/a/b', 'folder that can be written.*Not a dir'),
    ],
)
def test_an_output_that_cannot_be_written_is_named(
    out, tmp_path, check, path, message
):
  (tmp_path / 'file').touch()
  with pytest.raises(ValueError, match=f'^--out must be a {message}'):
    getattr(command_line, check)(out(f'{tmp_path}/{path}'))


@pytest.mark.parametrize('value', [None, ''])
def test_an_output_that_is_not_given_is_asked_for(out, value):
  with pytest.raises(ValueError, match='^--out=FILE must be given$'):
    command_line.output_file(out(value))
  with pytest.raises(ValueError, match='^--out=DIR must be given$'):
    command_line.output_folder(out(value))


def test_a_flag_that_is_given_has_its_value(out):
  assert command_line.required(out('a'), 'FILE') == 'a'
