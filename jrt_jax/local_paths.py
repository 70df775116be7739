"""Refuses URLs where a file or folder of this machine is needed."""

import os
import re

# A pathlib.Path has one slash where a URL has two.
_URL = re.compile(r'[A-Za-z][\w+.-]+:/')


def check(argument: str, path: str | os.PathLike) -> None:
  """Raises ValueError if a path is a URL, such as gs://bucket/run.

  Otherwise a folder with the name `gs:` would be created here.

  Args:
    argument: the name of the argument, for the message.
    path: the path that a user has given.
  """
  if _URL.match(str(path)):
    raise ValueError(
        f'{argument} must be a path of this machine, got {str(path)!r}: copy'
        ' it from or to the bucket (docs/data.md, "Buckets")'
    )
