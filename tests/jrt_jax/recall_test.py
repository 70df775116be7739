"""The command `python -m jrt_jax.recall`, run as a user runs it."""

import json

import pytest

ROWS = [
    {
        'context': (
            f'Ann always has a {pet} with her. Bob has a {thing}. Cid has a pen'
            ' that no one else may use.'
        ),
        'question': 'Bob has a',
        'answers': [thing],
    }
    for pet in ('cat', 'dog', 'cow', 'emu')
    for thing in ('car', 'bike', 'boat', 'tram', 'kite')
]
# Repeats the last text unless it has read the question first; tells its calls.
MODEL = """
import os, re

def reader(prompt):
  with open(os.environ['CALLS'], 'a') as file:
    file.write('.')
  if prompt.startswith('Bob'):
    return ' ' + re.search(r'\\. Bob has a (\\w+)', prompt)[1]
  return ' Cid has a pen. Bob'
"""


@pytest.fixture
def recall(run_command, tmp_path):
  """A function that runs the command with a model and rows of its own."""
  (tmp_path / 'models_of_mine.py').write_text(MODEL)
  (tmp_path / 'mine.jsonl').write_text('\n'.join(map(json.dumps, ROWS)))

  def recall(*flags):
    return run_command(
        'jrt_jax.recall',
        '--model=python:models_of_mine:reader',
        f'--tasks={tmp_path}/mine.jsonl',
        f'--out={tmp_path}/out',
        *flags,
        PYTHONPATH=str(tmp_path),
        CALLS=str(tmp_path / 'calls'),
    )

  return recall


def test_rows_and_a_model_of_ones_own_are_a_table_and_json(recall, tmp_path):
  done = recall('--prompts=default,twice,hierarchical')
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert lines[0] == f'{tmp_path}/mine.jsonl: 20 examples'
  twice = next(x for x in lines if x.startswith('twice') and '+100.0' in x)
  assert twice.split()[1] == 'contains' and twice.endswith('<0.001')
  assert lines[-1] == f'wrote {tmp_path}/out/result.json'
  record = json.loads((tmp_path / 'out' / 'result.json').read_text())
  (task,) = record['results'].values()
  default, twice, hierarchical = task['prompts'].values()
  assert default['metrics']['contains']['estimate'] == 0
  assert default['errors']['repetition'] == 1
  assert twice['metrics']['contains']['estimate'] == 1
  assert twice['against_default']['contains']['p_value'] == 2**-19
  assert default['tokens'] < hierarchical['tokens'] < twice['tokens']
  assert record['settings']['model'] == 'python:models_of_mine:reader'
  assert {'hardware', 'versions', 'commit', 'command'} <= record.keys()
  examples = (tmp_path / 'out' / 'examples.jsonl').read_text().splitlines()
  assert len(examples) == 60
  assert json.loads(examples[0])['output'] == ' Cid has a pen. Bob'


@pytest.mark.slow
def test_the_same_command_goes_on_and_another_is_refused(
    recall, tmp_path, error_line
):
  first = recall()
  examples, calls = tmp_path / 'out' / 'examples.jsonl', tmp_path / 'calls'
  lines = examples.read_text().splitlines(keepends=True)
  examples.write_text(''.join(lines[:25]) + lines[25][:40])  # as if killed
  calls.unlink()
  again = recall('--batch_size=3')
  assert again.stdout == first.stdout
  assert calls.read_text() == 15 * '.'
  assert sorted(examples.read_text().splitlines(keepends=True)) == sorted(lines)
  assert '25 of 40 answers were in' in again.stderr
  model = tmp_path / 'models_of_mine.py'
  model.write_text(MODEL.replace('Cid has a pen', 'Ann has a cat'))
  refused = recall()
  assert refused.returncode == 2
  assert 'whose fingerprint is' in error_line(refused.stderr)
  model.write_text(MODEL)
  refused = recall('--limit=7')
  assert refused.returncode == 2
  assert 'whose limit is None and not 7' in error_line(refused.stderr)


@pytest.mark.slow
@pytest.mark.parametrize('flag', ['--workdir=', '--model=workdir:'])
def test_a_run_of_ours_answers_and_scores(
    run_command, bytes_workdir, tmp_path, flag
):
  (tmp_path / 'mine.jsonl').write_text('\n'.join(map(json.dumps, ROWS[:4])))
  copa = {'premise': 'It rained.', 'choice1': 'It is wet.', 'label': 0}
  copa |= {'choice2': 'It is dry.', 'question': 'effect'}
  (tmp_path / 'superglue_copa.jsonl').write_text(json.dumps(copa))
  done = run_command(
      'jrt_jax.recall',
      f'{flag}{bytes_workdir}',
      f'--tasks={tmp_path}/mine.jsonl,superglue_copa',
      f'--data={tmp_path}',
      '--max_tokens=4',
      '--context_tokens=30',
      f'--out={tmp_path}/out',
  )
  assert done.returncode == 0, done.stderr
  record = json.loads((tmp_path / 'out' / 'result.json').read_text())
  assert record['settings']['prefix_capacity'] == 16
  assert record['settings']['step'] == 0
  assert record['settings']['fingerprint']
  assert record['settings']['context_tokens'] == [30, 30]
  mine, scored = (x['prompts']['twice'] for x in record['results'].values())
  assert mine['prefill_ms'] > 0 and 'errors' in mine
  assert mine['tokens'] == 30 + 30 + 3 * len(' Bob has a') + 1 - 10
  assert scored['metrics']['accuracy']['n'] == 1


@pytest.mark.slow
def test_the_list_names_tasks_and_prompts(run_command):
  done = run_command('jrt_jax.recall', '--list')
  assert done.returncode == 0
  names = {line.split()[0] for line in done.stdout.splitlines()}
  assert {'fda', 'superglue_record', 'default', 'hierarchical'} <= names
