"""The command `python -m jrt_jax.generate`, run as a user runs it."""

import functools
import os
import pty
import re
import subprocess
import sys

import pytest


@pytest.fixture(scope='module')
def generate(run_command):
  return functools.partial(run_command, 'jrt_jax.generate')


def test_a_prompt_is_continued_and_what_it_took_is_said(
    generate, bytes_workdir
):
  done = generate(
      f'--workdir={bytes_workdir}', '--prompt=' + 20 * 'x', '--max_tokens=20'
  )
  assert done.returncode == 0, done.stderr
  assert len(done.stdout.removesuffix('\n')) <= 20
  assert re.fullmatch(
      r'\[read 20 tokens in [\d.]+ s, compilation included; prefix: 16 of at most'
      r' 16\n generated 20 tokens, [\d,]+ tokens/s\n state: 1,080 bytes per'
      r' prompt\]\n',
      done.stderr,
  )


@pytest.mark.slow
def test_a_terminal_shows_the_prompt_and_is_not_commanded(bytes_workdir):
  ours, its = pty.openpty()
  command = [sys.executable, '-m', 'jrt_jax.generate', '--prompt=say \x1b[31m']
  command += [f'--workdir={bytes_workdir}', '--max_tokens=200']
  done = subprocess.run(command, stdout=its, stderr=subprocess.PIPE)
  assert done.returncode == 0, done.stderr
  os.close(its)
  shown = os.read(ours, 10**5)  # all of it waits in the buffer
  os.close(ours)
  assert shown.startswith(rb'say \x1b[31m')
  controls = {i for i in range(32)} - {*b'\r\n\t'}
  assert not controls & {*shown}


@pytest.mark.slow
def test_text_is_drawn_unless_the_likeliest_is_asked_for(
    generate, bytes_workdir
):
  arguments = f'--workdir={bytes_workdir}', '--prompt=a', '--max_tokens=40'
  drawn, other, likeliest, again = (
      generate(*arguments, *more).stdout
      for more in (
          [],
          ['--seed=1'],
          ['--temperature=0'],
          ['--temperature=0', '--seed=1'],
      )
  )
  assert drawn != other and likeliest == again != ''


@pytest.mark.slow
def test_a_conversation_continues_from_what_was_kept(
    generate, bytes_workdir, tmp_path
):
  (tmp_path / 'text').write_text('a text to read')
  memory = tmp_path / 'memory.npz'
  kept = generate(
      f'--workdir={bytes_workdir}',
      f'--input={tmp_path}/text',
      '--max_tokens=0',
      f'--save_state={memory}',
  )
  assert kept.returncode == 0, kept.stderr
  assert kept.stdout == '\n' and memory.exists()
  talk = (f'--workdir={bytes_workdir}', '--interactive', '--max_tokens=9')
  after = generate(*talk, f'--load_state={memory}', said='one\n\ntwo\n')
  assert after.returncode == 0, after.stderr
  assert after.stderr.count('generated 9 tokens') == 2
  without = generate(*talk, said='one\ntwo\n')
  assert after.stdout != without.stdout


@pytest.mark.slow
def test_documents_that_were_saved_are_seen_or_left_out(
    generate, bytes_workdir, tmp_path
):
  texts, files = (
      [f'{tmp_path}/{name}.{kind}' for name in 'ab']
      for kind in ('txt', 'state')
  )
  for path in texts:
    with open(path, 'w') as file:
      file.write(f'the text of {path[-5:]}')
  model = f'--workdir={bytes_workdir}'
  read = f'--read_documents={",".join(texts)}'
  kept = generate(model, read, f'--save_documents={",".join(files)}')
  assert kept.returncode == 0, kept.stderr
  assert kept.stdout == '' and kept.stderr.count('[wrote ') == 2

  def asked(*documents):
    done = generate(
        model, *documents, '--prompt=what?', '--max_tokens=9', '--temperature=0'
    )
    assert done.returncode == 0, done.stderr
    assert 'read 5 tokens' in done.stderr and 'prefix: 0 of' in done.stderr
    return done.stdout

  both = f'--documents={files[1]},{files[0]}'
  assert asked(both) == asked(read)
  first = asked(f'--documents={files[0]}')
  assert asked(both, f'--without={files[1]}') == first != asked(both)


@pytest.mark.slow
def test_several_prompts_are_told_apart(generate, bytes_workdir):
  done = generate(
      f'--workdir={bytes_workdir}',
      '--prompt=a',
      '--prompt=bcd',
      '--max_tokens=2',
  )
  first, second = re.findall('--- prompt . of 2', done.stdout)
  assert first != second


@pytest.mark.slow
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], '--prompt, --input or --interactive must be given'),
        (['--prompt=a'], '--workdir=DIR must be given'),
        (
            ['--prompt=a', '--workdir=/no'],
            "the workdir must be that of a run, got '/no', without"
            ' config.json',
        ),
        (
            ['--input=/no'],
            "--input must be a file that can be read, got '/no': No such file",
        ),
        (['--prompt=a', '--top_p=2'], 'top_p must be in (0, 1], got 2.0'),
        (
            ['--prompt=', '--workdir={bytes_workdir}'],
            'a prompt must hold at least one token, got none',
        ),
        (
            ['--prompt=a', '--workdir={bytes_workdir}', '--long_prompt=middle'],
            "long_prompt must be one of ['all', 'blocks', 'head', 'tail'], got"
            " 'middle'",
        ),
        (
            [
                '--prompt=a',
                '--workdir={bytes_workdir}',
                '--load_state=setup.cfg',
            ],
            'setup.cfg must be an intact .npz file',
        ),
        (
            [
                '--prompt=a',
                '--workdir={bytes_workdir}',
                '--save_state=/dev/null/a',
            ],
            '--save_state must be a file that can be written, got'
            " '/dev/null/a': Not a directory",
        ),
        (
            ['--prompt=a', '--workdir={bytes_workdir}', '--save_state=jrt_jax'],
            '--save_state must be a file that can be written, got'
            " 'jrt_jax': Is a directory",
        ),
        (
            ['--prompt=a', '--workdir=/no', '--documents=a', '--without=a,b'],
            '--without must name files of --documents or --read_documents, got'
            " 'b'",
        ),
        (
            [
                '--workdir=/no',
                '--read_documents=setup.cfg',
                '--save_documents=a,b',
            ],
            '--save_documents must name a file for each of --read_documents'
            ' (1), got 2',
        ),
        (
            ['--prompt=a', '--workdir={bytes_workdir}', '--documents=/no'],
            "--documents must be a file that can be read, got '/no': No such",
        ),
        (
            ['--prompt=a', '--documents=a', '--load_state=b'],
            '--load_state must not be given together with documents',
        ),
    ],
)
def test_a_mistake_is_one_line(
    error_line, generate, bytes_workdir, arguments, message
):
  done = generate(*(x.format(bytes_workdir=bytes_workdir) for x in arguments))
  assert done.returncode == 2
  assert error_line(done.stderr).startswith(f'error: {message}')
