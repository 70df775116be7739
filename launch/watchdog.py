"""Ends a process group when the process that watches over it is killed.

A script of its own, started by `process_group` as the leader of that group:
what kills or hangs the others leaves it alone.
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
