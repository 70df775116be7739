"""What commands exit with, if not 0."""

FAILURE = 1  # of the run: it may be tried again
MISTAKE = 2  # of the user's: the command must change
INTERRUPTED = 130  # as shells say of Ctrl-C
UNREAD = 141  # as shells say of a pipe that nobody reads any more
