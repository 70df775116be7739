"""Sweeps: which runs a grid has, and how their folders are called."""

import pytest

from launch import runs

RUN = runs.Run('train', '--config=c.py', 'runs/c', ['--config.steps=3'])


def sweep(*axes):
  return runs.of_sweep(RUN, axes)


def test_without_a_sweep_there_is_one_run():
  assert sweep() == [RUN]
  assert RUN.command('python', '--cluster=none') == [
      *('python', '-m', 'train', '--config=c.py', '--workdir=runs/c'),
      *('--cluster=none', '--config.steps=3'),
  ]


def test_a_grid_has_each_combination_in_a_folder_that_says_which_it_is():
  found = sweep('config.optimizer.peak_lr=4e-4,8e-4', '--config.seed=1,2')
  assert [run.workdir for run in found] == [
      'runs/c/peak_lr=4e-4+seed=1',
      'runs/c/peak_lr=4e-4+seed=2',
      'runs/c/peak_lr=8e-4+seed=1',
      'runs/c/peak_lr=8e-4+seed=2',
  ]
  assert found[2].own == [
      '--workdir=runs/c/peak_lr=8e-4+seed=1',
      '--config.optimizer.peak_lr=8e-4',
      '--config.seed=1',
  ]
  assert all(run.flags == RUN.flags for run in found)


@pytest.mark.parametrize(
    'axes, names',
    [
        (
            ['config.prefix.name=fixed,uniform'],
            ['prefix=fixed', 'prefix=uniform'],
        ),
        (
            ['config.a.size=1', 'config.b.size=2'],
            ['config.a.size=1+config.b.size=2'],
        ),
        (['config.data.path=/x/a b,../y'], ['path=_x_a_b', 'path=.._y']),
    ],
)
def test_names_are_short_unambiguous_and_names_of_files(axes, names):
  assert [run.workdir for run in sweep(*axes)] == [f'runs/c/{x}' for x in names]


@pytest.mark.parametrize(
    'values',
    [
        ["('pla','swa')", '("conv",)'],
        ['(1,(2,3))', '4', "[{'a':(1,2)},',']"],
        ["'(,'", '"a\'),b"', "('(',1)"],
    ],
)
def test_commas_inside_brackets_and_quotes_belong_to_a_value(values):
  found = sweep(f'config.x={",".join(values)}')
  assert [run.swept for run in found] == [[f'--config.x={x}'] for x in values]


@pytest.mark.parametrize(
    'axes, message',
    [
        (['seed=1,2'], "must be config.KEY=VALUE,VALUE…, got 'seed=1,2'"),
        (['config.seed'], "VALUE…, got 'config.seed'"),
        (['config.seed='], "VALUE…, got 'config.seed='"),
        (['config.seed=1,,2'], "VALUE…, got 'config.seed=1,,2'"),
        (['config.x=(1,(2,3),4'], 'must be config.KEY=VALUE'),
        (['config.x=(1,[2),3],4'], 'must be config.KEY=VALUE'),
        (["config.x=it's,4"], 'must be config.KEY=VALUE'),
        (['config.seed=1', 'config.seed=2'], 'each key once, got config.seed'),
        (['config.seed=1,1'], 'of its own, got seed=1 twice'),
        (['config.steps=3,4'], 'must not have config.steps: --config.steps is'),
    ],
)
def test_a_sweep_that_cannot_be_meant_is_one_line(axes, message):
  with pytest.raises(ValueError, match='^--sweep must ') as caught:
    sweep(*axes)
  assert message in str(caught.value) and '\n' not in str(caught.value)
