"""Prompts that show a text more than once: text in, text out, for any model.

It needs only Python: neither jax nor numpy is imported.

>>> from jrt_jax import prompting
>>> print(prompting.jrt_prompt('Bob has a dog.', 'Bob has a'))
Bob has a Bob has a dog.
Bob has a dog. Bob has a
"""

from jrt_jax.prompting.hierarchy import hierarchical_prompt as hierarchical_prompt
from jrt_jax.prompting.read_twice_prompts import read_twice as read_twice
from jrt_jax.prompting.templates import jrt_prompt as jrt_prompt
from jrt_jax.prompting.templates import task_prompt as task_prompt
from jrt_jax.prompting.templates import TASKS as TASKS
from jrt_jax.prompting.truncation import truncate_context as truncate_context
from jrt_jax.prompting.truncation import truncate_record as truncate_record
