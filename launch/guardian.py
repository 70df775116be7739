"""Ends a process group when the process that watches over it is killed.

A script, started by `process_group` as the leader of that group. It shares
nothing with the processes that it outlives, so it can be neither forgotten nor
hang with them.
"""

import os
import signal
import sys
import time


def main(patience: float) -> None:
  """Waits for the end of the process that holds the other end of stdin.

  Args:
    patience: seconds between SIGTERM and SIGKILL, for the whole group.
  """
  sys.stdin.buffer.read()
  os.killpg(0, signal.SIGTERM)  # blocked in this process
  time.sleep(patience)
  os.killpg(0, signal.SIGKILL)  # and this process, too


if __name__ == '__main__':
  main(float(sys.argv[1]))
