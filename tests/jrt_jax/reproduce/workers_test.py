from concurrent import futures
import os
import pickle
import signal
import time

import pytest

from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import exhibits
from jrt_jax.reproduce import read_apart
from jrt_jax.reproduce import runner
from jrt_jax.reproduce import training
from jrt_jax.reproduce import workers
from jrt_jax.reproduce.exhibits import retrofit
from jrt_jax.reproduce.exhibits import text_baselines

TRAINING = (
    training.train,
    retrofit.measure,
    read_apart.measure,
    text_baselines.measure,
)


def measure(settings, workdir):
  """Tells who measures, where, and when; ends when another has begun too."""
  (workdir.parent.parent / f'begun-{settings["n"]}').touch()
  deadline = time.monotonic() + 120
  while len([*workdir.parent.parent.glob('begun-*')]) < 2:
    if time.monotonic() > deadline:
      raise RuntimeError('nobody else has begun')
    time.sleep(0.01)
  return {'process': os.getpid(), 'cores': [*os.sched_getaffinity(0)]}


def where(settings, workdir):
  return {'process': os.getpid()}


def fail(settings, workdir):
  raise RuntimeError('out of memory')


def exhibit_of(measure):
  return exhibit.Exhibit(
      *('', '', ''),
      plan=lambda request, results: [
          exhibit.Job(f'n{n}', {'n': n}) for n in range(2)
      ],
      measure=measure,
      show=lambda results: [],
      verdict=lambda results: exhibit.Verdict('open', ''),
      at_paper_scale=lambda: None,
      takes_minutes=True,
  )


def run(found, out, **options):
  request = exhibit.Request('cpu')
  with workers.processes(2) as several:
    return runner.run(
        'e', found, request, out, command='', workers=several, **options
    )


def test_two_jobs_are_measured_at_once_on_a_core_each(tmp_path):
  told = []
  assert run(exhibit_of(measure), tmp_path, tell=told.append) == []
  assert sorted(x.split(':')[0] for x in told) == ['e n0', 'e n1']
  jobs = runner.read(tmp_path / 'e.json')['jobs']
  assert len({job['figures']['process'] for job in jobs}) == 2
  assert all(len(job['figures']['cores']) == 1 for job in jobs)


def test_what_fails_elsewhere_is_told_as_if_it_were_here(tmp_path):
  told = []
  failed = run(exhibit_of(fail), tmp_path, tell=told.append)
  assert sorted(failed) == sorted(told)
  assert sorted(failed) == [f'failed: e n{n}: out of memory' for n in (0, 1)]


def test_a_process_that_dies_is_told_and_ends_no_other_command():
  with workers.processes(2) as several:
    with pytest.raises(futures.BrokenExecutor):
      several.submit(os._exit, 1).result()


def test_a_process_solves_systems_with_one_thread(monkeypatch):
  monkeypatch.delenv('OPENBLAS_NUM_THREADS', raising=False)
  with workers.processes(2) as several:
    assert several.submit(os.getenv, 'OPENBLAS_NUM_THREADS').result() == '1'


def test_one_worker_is_this_process():
  with workers.processes(1) as one:
    assert one is workers.HERE
    assert one.submit(os.getpid).result() == os.getpid()


def test_an_end_that_is_asked_for_ends_the_processes_too():
  with pytest.raises(SystemExit) as ended:
    with workers.processes(2) as several:
      future = several.submit(time.sleep, 600)
      while not future.running():
        time.sleep(0.01)
      signal.raise_signal(signal.SIGTERM)
  assert ended.value.code == 143 and future.done()


@pytest.mark.parametrize('name', exhibits.EXHIBITS)
def test_other_processes_can_measure_every_exhibit(name):
  pickle.dumps(exhibits.EXHIBITS[name].measure)


def test_what_takes_seconds_is_measured_here(tmp_path):
  found = exhibit_of(where)._replace(takes_minutes=False)
  assert run(found, tmp_path) == []
  jobs = runner.read(tmp_path / 'e.json')['jobs']
  assert {job['figures']['process'] for job in jobs} == {os.getpid()}


def test_exhibits_that_train_say_that_it_takes_minutes():
  for found in exhibits.EXHIBITS.values():
    assert found.takes_minutes == (found.measure in TRAINING)
