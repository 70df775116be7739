"""The command `python -m jrt_jax.prefix.preview`, run as a user runs it."""

import gzip

import pytest

CONFIG = ['--config=configs/jrt_tiny.py', '--config.sequence_length=100']


@pytest.fixture
def document(tmp_path):
  path = tmp_path / 'document.txt.gz'
  text = 'a repeated line\n' * 40 + ''.join(map(str, range(1000)))
  path.write_bytes(gzip.compress(text.encode()))
  return path


def test_each_policy_has_a_line_with_its_boundary(command, document):
  done = command('preview', f'--input={document}', *CONFIG, '--start=10')
  assert done.returncode == 0, done.stderr
  title, values, _, *lines = done.stdout.splitlines()
  assert title.startswith(f'{document}: tokens 10 to 110 of ')
  assert 'conditional_entropy' in values
  names = ['none', 'full', 'fixed', 'uniform', 'entropy', 'learned']
  assert [line.split()[0] for line in lines] == names
  fixed = lines[2]
  assert fixed.split()[1] == '50'
  assert fixed.endswith(r'd line\na repeated l|ine\na repeated line')
  assert lines[5].endswith('needs --config.prefix.file of jrt_jax.prefix.learn')


def test_complex_text_gets_more_than_simple_text(command, document):
  lengths = []
  for start in (0, 1500):
    done = command(
        'preview', f'--input={document}', *CONFIG, f'--start={start}'
    )
    entropy = done.stdout.splitlines()[7].split()
    assert entropy[0] == 'entropy'
    lengths.append(int(entropy[1]))
  assert lengths[0] < lengths[1]


@pytest.mark.parametrize(
    ('flag', 'message'),
    [
        ('--start=99999', '--start=99999 with config.sequence_length='),
        ('--config.prefix.bas=1', "the config has no key 'bas': did you"),
    ],
)
def test_a_mistake_is_one_line(error_line, command, document, flag, message):
  done = command('preview', f'--input={document}', flag)
  assert done.returncode == 2
  line = error_line(done.stderr)
  assert line.startswith(f'error: {message}')
