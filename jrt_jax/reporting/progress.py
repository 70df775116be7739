"""Progress bars: on terminals, for what takes longer than a second."""

import functools

import tqdm

progress_bar = functools.partial(tqdm.tqdm, delay=1, leave=None, disable=None)
