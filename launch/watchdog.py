"""Ends a process group when the process that started the group is killed.

This is a separate script, which `process_group` starts as the leader of the
group: it keeps working if the other processes hang or are killed.
"""

import os
import signal
import sys
import time


def main(patience: float) -> None:
  """Waits until the process at the other end of stdin ends; ends the group.

  Args:
    patience: seconds between SIGTERM and SIGKILL, for the whole group.
  """
  sys.stdin.buffer.read()
  os.killpg(0, signal.SIGTERM)  # blocked in this process
  time.sleep(patience)
  os.killpg(0, signal.SIGKILL)  # including this process


if __name__ == '__main__':
  main(float(sys.argv[1]))
