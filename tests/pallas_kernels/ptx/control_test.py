"""Threads that wait for each other."""

import numpy as np
import pytest

from pallas_kernels import ptx

LANES = np.arange(256)
INIT = '@%first mbarrier.init.shared::cta.b64 [%shared], {}; bar.sync 0;'
WAIT = """
{{ .reg .pred P1;
LAB_WAIT:
mbarrier.try_wait.parity.shared.b64 P1, [%shared], {}, 0;
@P1 bra.uni DONE;
bra.uni LAB_WAIT;
DONE:
}}
"""
ARRIVE = 'mbarrier.arrive.release.cta.shared::cta.b64 _, [%shared], 1;'
# The first warpgroup writes its numbers to shared memory, the second reads them.
WRITE = """
cvt.u64.u32 %a, %own;
add.s64 %a, %a, %shared;
@!%group0 bra READ;
st.shared.b32 [%a+64], %thread;
"""
READ = """
ld.shared.b32 %r, [%a+-448];
st.global.b32 [%out], %r;
"""


def exchange(arrive=ARRIVE, wait=WAIT.format(0)):
  return f'{INIT.format(128)} {WRITE} {arrive} ret; READ: {wait} {READ}'


def test_what_was_written_before_a_barrier_is_read_after_it(run):
  result = run(exchange(), threads=256)
  np.testing.assert_array_equal(result[128:], LANES[:128])


def test_a_missing_wait_is_noticed(run):
  with pytest.raises(ptx.Violation, match='read without waiting'):
    run(exchange(wait=''), threads=256)


def test_a_missing_arrival_is_a_deadlock_that_names_who_waits(run):
  with pytest.raises(ptx.Violation, match='deadlock.*mbarrier.try_wait'):
    run(exchange(arrive=''), threads=256)


def test_a_barrier_that_others_cannot_know_of_yet_is_noticed(run):
  init = INIT.replace('bar.sync 0;', '')
  with pytest.raises(ptx.Violation, match='read without waiting'):
    run(init.format(128) + ARRIVE)


def test_one_arrival_too_many_is_noticed(run):
  expect = '@%first mbarrier.arrive.expect_tx.shared.b64 _, [%shared], 16;'
  with pytest.raises(ptx.Violation, match='more than 128 arrivals'):
    run(INIT.format(128) + expect + ARRIVE)


def test_a_phase_that_does_not_end_is_noticed(run):
  with pytest.raises(ptx.Violation, match='middle of a phase'):
    run(INIT.format(129) + ARRIVE)


def test_a_barrier_is_no_data(run):
  with pytest.raises(ptx.Violation, match='as if it were data'):
    run(INIT.format(1) + 'st.shared.b32 [%shared+4], 0;')


NEIGHBOUR = """
cvt.u64.u32 %a, %own;
add.s64 %a, %a, %shared;
st.shared.b32 [%a], %thread;
{}
xor.b32 %own, %own, 128;
cvt.u64.u32 %a, %own;
add.s64 %a, %a, %shared;
ld.shared.b32 %r, [%a];
st.global.b32 [%out], %r;
"""


def test_warps_of_a_group_exchange_after_they_have_met(run):
  result = run(NEIGHBOUR.format('bar.sync 1, 128;'))
  np.testing.assert_array_equal(result, LANES[:128] ^ 32)
  with pytest.raises(
      ptx.Violation, match='warp 1 has written, is read without waiting'
  ):
    run(NEIGHBOUR.format(''))


def test_branches_that_split_a_warpgroup_are_refused(run):
  with pytest.raises(ptx.Violation, match='different branches'):
    run('@%first bra THERE; THERE:')


TAKE = '@!%group0 bra GIVE; setmaxnreg.inc.sync.aligned.u32 {}; ret; GIVE:'
GIVE = 'setmaxnreg.dec.sync.aligned.u32 {};'


@pytest.mark.parametrize(
    'taken, given, is_enough', [(464, 24, False), (464, 48, True)]
)
def test_registers_are_taken_when_others_gave_them(
    run, taken, given, is_enough
):
  # There are 512 for two threads of two warpgroups, which have 248 each.
  program = TAKE.format(taken) + GIVE.format(512 - taken if is_enough else 56)
  if is_enough:
    run(program, threads=256, registers=248)
  else:
    with pytest.raises(ptx.Violation, match='deadlock.*setmaxnreg.inc'):
      run(program, threads=256, registers=248)
