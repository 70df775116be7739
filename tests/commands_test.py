"""Every command, run as a user runs it: mistakes are one line and exit code 2."""

import os
import pathlib
import subprocess
import sys

import pytest

from jrt_jax import commands

pytestmark = pytest.mark.slow  # each of them imports jax

ROOT = pathlib.Path(__file__).parent.parent
COMMANDS = [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in sorted((ROOT / 'jrt_jax').rglob('*.py'))
    if 'app.run(' in path.read_text()
]
CONFIG = '--config=configs/jrt_tiny.py'
# Commands with a mistake, and what the line says; {tmp} is an empty folder.
MISTAKES = {
    'train': '--config=configs/NAME.py must be given',
    'train --config=/etc/passwd': "--config must be a .py file, got '/etc/pa",
    f'train {CONFIG} --config.batch_size=1000000000': 'config.batch_size must',
    f'train {CONFIG} --config.model.feature_map.order=99': 'order must be a w',
    f'train {CONFIG} --workdir=': 'flag --workdir=: must be a folder',
    f'train {CONFIG} --workdir=/dev/null/run': 'workdir must be a directory',
    f'train {CONFIG} --workdir={{tmp}}/run --config.init_from={{tmp}}': (
        'config.init_from: there is no checkpoint'
    ),
    f'train {CONFIG} --from={{tmp}}': '--from brings its own config',
    f'train {CONFIG} --workdir={{tmp}}/run --config.probes.every=1'
    ' --config.probes.path=no.jsonl': 'config.probes.path: no.jsonl must be a file',
    'train --from={tmp} --workdir={tmp}/a': 'must be a workdir or its config.j',
    'train --from=builtin:a --workdir={tmp}/a': 'error: builtin:NAME must be o',
    'train --from=builtin:jrt_2m --workdir={tmp}/a': 'config.data.path must be',
    'verify_resume': '--workdir=DIR must be given',
    'verify_resume --workdir={tmp}': 'must be that of a run, got',
    'plot': '--workdir=DIR or --workdir=DIR,DIR must be given',
    'plot --workdir={tmp}': 'is not a run',
    'plot --workdir={tmp} --smooth=2': '--smooth must be a number in',
    'plot --workdir={tmp} --out=/dev/null/a.png': '--out must be a file',
    'generate --prompt=a': '--workdir=DIR must be given',
    'generate --workdir={tmp} --prompt=a': 'the workdir must be that of a run',
    'generate --workdir={tmp} --input={tmp}/a': '--input must be a file that can',
    'convert': 'from_mamba2, to_official or to_compact must be given',
    'convert from_hf --input={tmp} --workdir={tmp}/a': 'config.json',
    'convert from_hf --input={tmp}': '--workdir=DIR must be given',
    'convert from_official --input={tmp} --workdir=/dev/null/a': (
        '--workdir must be a folder that'
    ),
    'convert to_official --workdir={tmp} --out=/dev/null/a': (
        '--out must be a folder that can be'
    ),
    'export --out={tmp}/a': '--workdir=DIR must be given',
    'export --workdir={tmp}': '--out=DIR must be given',
    'export --workdir={tmp} --out={tmp}/a': 'the workdir must be that of a run',
    'export --workdir={tmp} --out=/dev/null/a': '--out must be a folder that',
    'lm_eval --workdir={tmp}': '--tasks=NAME,… must be given',
    'lm_eval --workdir={tmp} --tasks=a --out=/dev/null/a': '--out must be a f',
    'recall --tasks=fda': 'either --workdir=DIR or --model=SPEC must be given',
    'recall --workdir={tmp}': '--tasks=NAME,… must be given',
    'recall --workdir={tmp} --tasks=imdb': "or FILE.jsonl, got 'imdb'",
    'recall --workdir={tmp} --tasks=kv': 'kv needs a file: its rows are at',
    'recall --workdir={tmp} --tasks=fda --data={tmp}': 'no file fda*.jsonl',
    'recall --workdir={tmp} --tasks={tmp}/a.jsonl': 'a.jsonl must be a file',
    'recall --workdir={tmp} --tasks=fda --prompts=thrice': "got 'thrice'",
    'recall --workdir={tmp} --tasks=fda': 'the workdir must be that of a run',
    'recall --workdir={tmp} --tasks=fda --out=/dev/null/a': '--out must be a',
    'recall --model=http://127.0.0.1:9/v1 --tasks=fda': 'a server that answers',
    'recall --workdir={tmp} --tasks=fda --model_args=dtype=int8': 'takes the',
    'recall --model=http://127.0.0.1:9/v1 --tasks=fda --model_args=timeout=a': (
        "timeout must be a number, got 'a'"
    ),
    'recall --workdir={tmp} --tasks=fda --model_args=batch_size=2': 'are flags',
    'benchmark --out=/dev/null/a': '--out must be a file that can be written',
    'benchmark --only=G999': 'G999',
    'perplexity --out={tmp}/a': '--workdir=DIR or --workdir=DIR,DIR must be',
    'perplexity --workdir={tmp}': '--out=FILE must be given',
    'perplexity --workdir={tmp} --out={tmp}/a': 'the workdir must be that of a',
    'perplexity --workdir={tmp},{tmp} --out={tmp}/a': 'must be different runs',
    'perplexity --workdir={tmp} --out=/dev/null/a': '--out must be a file that',
    'probe --only=haystack': "got 'haystack'",
    'probe --out=/dev/null/a': '--out must be a file that can be written',
    'data.contamination': '--input=FILES must be given',
    'data.contamination --input=README.md --rows={tmp}/a': '--rows must name f',
    'data.contamination --input=README.md --rows=README.md': 'README.md:1 must',
    'reproduce': 'NAME must be given',
    'reproduce table_9': 'NAME must be all or one of jrt_prompt, ',
    'reproduce all --out=/dev/null/a': '--out must be a folder that can be',
    'reproduce jrt_prompt --data={tmp}/a': '--data must be a folder, got',
    'data.prepare': '--out=DIR must be given, with --input=FILES or --verify',
    'data.prepare --out={tmp}/a --input={tmp}/*.txt': '--input must name files',
    'data.prepare --out=/dev/null/a --input=README.md --format=text': '--out m',
    'data.prepare --out={tmp} --verify': 'manifest.json',
    'data.train_tokenizer': '--input=FILES must be given',
    'data.train_tokenizer --input={tmp}/a --out={tmp}/b': '--input must name f',
    'data.train_tokenizer --input=README.md --out={tmp}/b --vocab_size=9': (
        '--vocab_size must be from 257'
    ),
    f'prefix.calibrate {CONFIG}': '--out=FILE must be given',
    f'prefix.calibrate {CONFIG} --out=/dev/null/a': '--out must be a file that',
    'prefix.preview': '--input=FILES must be given',
    'prefix.preview --input={tmp}': '--input must name files',
    'prefix.learn --trials={tmp}/a.npz': '--trials must be a file that can',
    'prefix.learn --out=/dev/null/a': '--out must be a file that can be writte',
    'prompting.preview': '--input=FILE must be given',
    'prompting.preview --input=README.md': '--question=TEXT must be given',
    'prompting.preview --input={tmp} --question=a': '--input must be a file t',
}


def run(module, *arguments):
  return subprocess.run(
      [sys.executable, '-m', module, *arguments],
      cwd=ROOT,
      env=os.environ | {'XLA_FLAGS': ''},  # one device
      capture_output=True,
      text=True,
  )


@pytest.fixture
def assert_one_line(error_line):

  def assert_one_line(done, message):
    assert done.returncode == 2, done.stderr
    assert message in error_line(done.stderr)

  return assert_one_line


@pytest.mark.parametrize('command', commands.names())
def test_help_is_what_was_asked_for(command):
  done = run(command, '--help')
  assert done.returncode == 0
  assert '--' in done.stdout


@pytest.mark.parametrize('command', COMMANDS)
def test_an_unknown_flag_is_one_line(assert_one_line, command):
  assert_one_line(run(command, '--no_such_flag=3'), 'no flag --no_such_flag')


@pytest.mark.parametrize('command', MISTAKES)
def test_a_mistake_is_one_line(assert_one_line, command, tmp_path):
  module, *arguments = command.split()
  arguments = [x.format(tmp=tmp_path) for x in arguments]
  assert_one_line(run(f'jrt_jax.{module}', *arguments), MISTAKES[command])
