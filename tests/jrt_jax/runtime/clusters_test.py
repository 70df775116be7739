"""How a process finds its peers, by environments as schedulers set them."""

import pytest

from jrt_jax.runtime import clusters

Place = clusters.Place
NOTHING = Place()

# As in the second task of `srun --nodes 2 --ntasks-per-node 2`.
SLURM = {
    'SLURM_JOB_ID': '4711',
    'SLURM_JOB_NUM_NODES': '2',
    'SLURM_LOCALID': '1',
    'SLURM_NODEID': '0',
    'SLURM_NTASKS': '4',
    'SLURM_PROCID': '1',
    'SLURM_STEP_ID': '0',
    'SLURM_STEP_NODELIST': 'gpu[003-004]',
    'SLURM_STEP_NUM_NODES': '2',
    'SLURM_STEP_NUM_TASKS': '4',
    'SLURM_STEP_TASKS_PER_NODE': '2(x2)',
}
# As in the script of a batch job, where `srun` has not been called yet.
BATCH_SCRIPT = {
    'SLURM_JOB_ID': '4711',
    'SLURM_JOB_NODELIST': 'gpu[003-004]',
    'SLURM_LOCALID': '0',
    'SLURM_NTASKS': '4',
    'SLURM_PROCID': '0',
    'SLURM_TASKS_PER_NODE': '2(x2)',
}
# As in the shell of `salloc`, which is a step of one task by itself.
SALLOC_SHELL = BATCH_SCRIPT | {
    'SLURM_STEP_ID': '4294967290',
    'SLURM_STEP_NODELIST': 'gpu003',
    'SLURM_STEP_NUM_TASKS': '1',
}
OPEN_MPI_4 = {
    'OMPI_COMM_WORLD_LOCAL_RANK': '1',
    'OMPI_COMM_WORLD_LOCAL_SIZE': '2',
    'OMPI_COMM_WORLD_RANK': '3',
    'OMPI_COMM_WORLD_SIZE': '4',
    'OMPI_MCA_orte_hnp_uri': '1531576320.0;tcp://10.96.0.1,10.148.0.1:34911',
}
OPEN_MPI_5 = {
    'OMPI_COMM_WORLD_LOCAL_RANK': '1',
    'OMPI_COMM_WORLD_LOCAL_SIZE': '2',
    'OMPI_COMM_WORLD_RANK': '1',
    'OMPI_COMM_WORLD_SIZE': '2',
    'PMIX_NAMESPACE': 'prterun-node1-4242@1',
}
# As in the second process of MPICH's `mpirun -n 2`.
MPICH = {
    'MPI_LOCALNRANKS': '2',
    'MPI_LOCALRANKID': '1',
    'PMI_FD': '11',
    'PMI_RANK': '1',
    'PMI_SIZE': '2',
}
INTEL_MPI = MPICH | {
    'HYDRA_LAUNCH_TYPE': '2',
    'I_MPI_HYDRA_UUID': 'bc2b0000-dc34-2958-6c61-0600ea793d2f',
}
# As in the second of `torchrun --nproc-per-node 2`.
TORCHRUN = {
    'GROUP_RANK': '0',
    'LOCAL_RANK': '1',
    'LOCAL_WORLD_SIZE': '2',
    'MASTER_ADDR': 'node1',
    'MASTER_PORT': '43263',
    'RANK': '1',
    'TORCHELASTIC_USE_AGENT_STORE': 'True',
    'WORLD_SIZE': '2',
}
SKYPILOT = {
    'SKYPILOT_NODE_IPS': '10.0.0.4\n10.0.0.7',
    'SKYPILOT_NODE_RANK': '1',
    'SKYPILOT_NUM_GPUS_PER_NODE': '8',
    'SKYPILOT_NUM_NODES': '2',
    'SKYPILOT_TASK_ID': 'sky-2026-07-06-21-18-31-563597_cluster_1',
}
JAX = {
    'JAX_COORDINATOR_ADDRESS': 'node1:1234',
    'JAX_NUM_PROCESSES': '4',
    'JAX_PROCESS_ID': '3',
}
KUBERNETES = {
    'JAX_COORDINATOR_ADDRESS': 'jrt-0.jrt:1234',
    'JAX_NUM_PROCESSES': '8',
    'JOB_COMPLETION_INDEX': '5',
    'KUBERNETES_SERVICE_HOST': '10.0.0.1',
}


def find(environment, cluster='auto', **given):
  return clusters.find(cluster, environment, Place(**given))


def host(place):
  return place.coordinator.rpartition(':')[0]


@pytest.mark.parametrize(
    'environment, cluster, coordinator, size, process',
    [
        ({}, 'none', '', 1, 0),
        (SLURM, 'slurm', 'gpu003', 4, 1),
        (OPEN_MPI_4, 'openmpi', '10.96.0.1', 4, 3),
        (OPEN_MPI_5, 'openmpi', 'localhost', 2, 1),
        (KUBERNETES, 'kubernetes', 'jrt-0.jrt', 8, 5),
        (INTEL_MPI, 'mpich', 'localhost', 2, 1),
        (TORCHRUN, 'torchrun', 'node1', 2, 1),
        (SKYPILOT, 'skypilot', '10.0.0.4', 2, 1),
        (JAX, 'flags', 'node1', 4, 3),
        # mpirun starts its daemons with srun: processes inherit its variables.
        (SLURM | OPEN_MPI_4, 'openmpi', '10.96.0.1', 4, 3),
        (SLURM | INTEL_MPI, 'mpich', 'localhost', 2, 1),
        # `srun --mpi=pmi2` sets them both.
        (
            SLURM | {'PMI_SIZE': '4', 'PMI_RANK': '1', 'PMI_FD': '11'},
            'slurm',
            'gpu003',
            4,
            1,
        ),
        (SLURM | TORCHRUN, 'torchrun', 'node1', 2, 1),
        (SKYPILOT | TORCHRUN, 'torchrun', 'node1', 2, 1),
        # As PyTorch's users write it in a script that calls srun.
        (
            SLURM | {'WORLD_SIZE': '4', 'MASTER_ADDR': 'x'},
            'slurm',
            'gpu003',
            4,
            1,
        ),
    ],
)
def test_a_scheduler_is_recognised(
    environment, cluster, coordinator, size, process
):
  name, place = find(environment)
  assert (name, place.num_processes, place.process_id) == (
      cluster,
      size,
      process,
  )
  assert not coordinator or host(place) == coordinator


@pytest.mark.parametrize(
    'environment',
    [
        BATCH_SCRIPT,
        SALLOC_SHELL,
        # One of many separate runs.
        {'JOB_COMPLETION_INDEX': '3', 'JAX_NUM_PROCESSES': '1'},
        {'KUBERNETES_SERVICE_HOST': '10.0.0.1'},
        MPICH | {'PMI_SIZE': '1', 'PMI_RANK': '0'},
        TORCHRUN | {'WORLD_SIZE': '1', 'RANK': '0'},
        {'WORLD_SIZE': '8'},  # an exported habit, not a launcher
        SKYPILOT | {'SKYPILOT_NODE_IPS': '10.0.0.4', 'SKYPILOT_NODE_RANK': '0'},
    ],
)
def test_a_process_of_its_own_stays_alone(environment):
  assert find(environment) == ('none', Place(None, 1, 0))


@pytest.mark.parametrize(
    'nodes, first',
    [
        ('node001', 'node001'),
        ('node001,host2', 'node001'),
        ('node[001-0015],host2', 'node001'),
        ('node[001,007-015],host2', 'node001'),
        ('a-b[3]', 'a-b3'),
        ('rack[1-2]n[04-05]', 'rack1n04'),
        ('n[1-2].cluster,login', 'n1.cluster'),
    ],
)
def test_process_0_runs_on_the_first_node_of_the_list(nodes, first):
  _, place = find(SLURM | {'SLURM_STEP_NODELIST': nodes})
  assert host(place) == first


def test_all_processes_choose_one_port_and_other_steps_another():
  ports = [
      find(SLURM | {'SLURM_PROCID': process, 'SLURM_STEP_ID': step})[
          1
      ].coordinator.rpartition(':')[2]
      for step in '01'
      for process in '012'
  ]
  assert len(set(ports[:3])) == len(set(ports[3:])) == 1
  assert ports[0] != ports[3]
  assert all(61440 <= int(port) < 65536 for port in ports)


def test_torchrun_keeps_its_port_and_operators_leave_it_to_us():
  _, place = find(TORCHRUN)
  assert place.coordinator != 'node1:43263'
  _, place = find(TORCHRUN | {'TORCHELASTIC_USE_AGENT_STORE': 'False'})
  assert place.coordinator == 'node1:43263'


@pytest.mark.parametrize(
    'environment',
    [
        MPICH,  # which does not name its job: another's port would be the same
        INTEL_MPI | {'PMI_SIZE': '4'},  # on several nodes
        {'JOB_COMPLETION_INDEX': '0'},
        {'JOB_COMPLETION_INDEX': '3', 'JAX_NUM_PROCESSES': '8'},
        {'JOB_COMPLETION_INDEX': '3', 'JAX_COORDINATOR_ADDRESS': 'a:1'},
        {k: v for k, v in TORCHRUN.items() if k != 'MASTER_ADDR'},
        {'JAX_NUM_PROCESSES': '4'},
    ],
)
def test_many_processes_are_never_left_alone_silently(environment):
  with pytest.raises(ValueError, match='--cluster=') as caught:
    find(environment)
  assert '\n' not in str(caught.value)
  assert find(environment, 'none') == ('none', Place(None, 1, 0))


@pytest.mark.parametrize('environment', [MPICH, INTEL_MPI | {'PMI_SIZE': '4'}])
def test_where_mpich_needs_a_coordinator_it_takes_one(environment):
  cluster, place = find(environment, coordinator='node1:1234')
  assert (cluster, place.coordinator) == ('mpich', 'node1:1234')
  environment |= {'JAX_COORDINATOR_ADDRESS': 'node2:1234'}
  assert find(environment)[1].coordinator == 'node2:1234'


def test_ipv6_addresses_keep_their_brackets():
  uri = '1314521088.0;tcp6://[fe80::b9b,2620:10d::2]:43370'
  _, place = find(OPEN_MPI_4 | {'OMPI_MCA_orte_hnp_uri': uri})
  assert host(place) == '[fe80::b9b]'


def test_flags_win_over_the_environment():
  place = dict(coordinator='me:1', num_processes=3, process_id=2)
  assert find(SLURM, **place) == ('flags', Place(**place))
  assert find(SLURM, 'none') == ('none', Place(None, 1, 0))
  name, found = find(SLURM, coordinator='me:1')
  assert (name, found.coordinator, found.process_id) == ('slurm', 'me:1', 1)


@pytest.mark.parametrize(
    'environment, cluster, given, message',
    [
        ({}, 'slrm', {}, '--cluster must be one of auto, none, slurm, .*slrm'),
        ({}, 'slurm', {}, 'needs .* SLURM_JOB_ID, which is not set: srun sets'),
        (BATCH_SCRIPT, 'slurm', {}, 'SLURM_STEP_ID, which is not set'),
        ({}, 'openmpi', {}, 'OMPI_COMM_WORLD_SIZE, which .*: mpirun sets it'),
        ({}, 'kubernetes', {}, 'JOB_COMPLETION_INDEX, which .*an Indexed Job'),
        (
            {'JOB_COMPLETION_INDEX': '0', 'JAX_NUM_PROCESSES': '2'},
            'kubernetes',
            {},
            'does not say where process 0 runs: pass --coordinator=HOST:PORT',
        ),
        (
            OPEN_MPI_5 | {'OMPI_COMM_WORLD_SIZE': '4'},
            'auto',
            {},
            '--cluster=openmpi does not say where process 0 runs',
        ),
        ({}, 'mpich', {}, 'needs .* PMI_SIZE, which is not set: mpirun sets'),
        ({}, 'torchrun', {}, 'MASTER_ADDR, which is not set: torchrun sets it'),
        ({}, 'skypilot', {}, 'SKYPILOT_NODE_IPS, which is not set: SkyPilot'),
        (
            TORCHRUN | {'RANK': 'x'},
            'auto',
            {},
            "needs whole numbers of processes, got process 'x' of '2'",
        ),
        ({}, 'flags', {}, 'neither --coordinator nor'),
        ({}, 'auto', {'num_processes': 2}, 'neither --coordinator nor'),
        (
            {},
            'auto',
            {'coordinator': 'a:1', 'num_processes': 2},
            'neither --process_id nor',
        ),
        (
            {},
            'flags',
            {'coordinator': 'a:1', 'num_processes': 2, 'process_id': 2},
            r'--process_id must lie in \[0, 2\), got 2',
        ),
        (
            {},
            'flags',
            {'coordinator': 'a', 'num_processes': 2, 'process_id': 0},
            "--coordinator must be HOST:PORT of process 0, got 'a'",
        ),
    ],
)
def test_half_an_environment_is_refused_in_one_line(
    environment, cluster, given, message
):
  with pytest.raises(ValueError, match=message) as caught:
    find(environment, cluster, **given)
  assert '\n' not in str(caught.value)
