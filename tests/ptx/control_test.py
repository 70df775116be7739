"""Threads that wait for each other."""

import numpy as np
import pytest

import ptx

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


def test_a_parity_is_0_or_1(run):
  with pytest.raises(ptx.Violation, match='must be 0 or 1, is 2'):
    run(INIT.format(128) + WAIT.format(2))


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


GIVE_AND_TAKE = """
@%group0 setmaxnreg.dec.sync.aligned.u32 {given};
@!%group0 setmaxnreg.inc.sync.aligned.u32 {taken};
"""


def test_registers_are_taken_when_others_have_given_them(run):
  # Threads of both warpgroups begin with 128: 104 of them are given.
  run(GIVE_AND_TAKE.format(given=24, taken=232), threads=256, registers=128)
  with pytest.raises(ptx.Violation, match='deadlock.*setmaxnreg.inc'):
    run(GIVE_AND_TAKE.format(given=24, taken=240), threads=256, registers=128)


@pytest.mark.parametrize('count', [16, 36, 264])
@pytest.mark.parametrize('change', ['inc', 'dec'])
def test_registers_are_given_and_taken_by_eights(run, change, count):
  with pytest.raises(ptx.Violation, match=f'from 24 to 256, are {count}'):
    run(f'setmaxnreg.{change}.sync.aligned.u32 {count};')


@pytest.mark.parametrize(
    'instruction',
    [
        'bar.sync 0',
        'setmaxnreg.dec.sync.aligned.u32 24',
        'setmaxnreg.inc.sync.aligned.u32 128',
        'wgmma.fence.sync.aligned',
        'wgmma.commit_group.sync.aligned',
        'wgmma.wait_group.sync.aligned 0',
        'elect.sync %r|%p, -1',
    ],
)
def test_what_a_warpgroup_does_together_is_not_done_by_some(run, instruction):
  with pytest.raises(ptx.Violation, match='all threads of the warpgroup must'):
    run(f'@%first {instruction};')


@pytest.mark.parametrize(
    'instruction, message',
    [
        ('bar.sync 16', 'one of 0 to 15, is 16'),
        ('bar.sync 1, 100', 'multiple of 32, are 100'),
        ('bar.sync 1, 0', 'multiple of 32, are 0'),
    ],
)
def test_barriers_that_the_hardware_does_not_have_are_refused(
    run, instruction, message
):
  with pytest.raises(ptx.Violation, match=message):
    run(instruction)
