"""Exit codes of commands, other than 0."""

FAILURE = 1  # the run failed; the same command may succeed
MISTAKE = 2  # the command is wrong and must be changed
INTERRUPTED = 130  # Ctrl-C, as in shells
UNREAD = 141  # the reader of the output is gone (SIGPIPE), as in shells
# The run is stuck; a scheduler should start it again. It is above 128 + any signal
# (and below 253, out of memory), since srun returns the highest code of a job.
STALLED = 200
