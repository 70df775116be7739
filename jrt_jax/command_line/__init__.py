"""What commands share: flags, one-line errors, files that they read and write.

Only commands may import it, because it changes the program: from its import on,
Ctrl-C prints one line. Commands import it before modules that take long.
"""

from jrt_jax.command_line.parsing import define_compilation_cache as define_compilation_cache
from jrt_jax.command_line.parsing import FAILURE as FAILURE
from jrt_jax.command_line.parsing import INTERRUPTED as INTERRUPTED
from jrt_jax.command_line.parsing import MISTAKE as MISTAKE
from jrt_jax.command_line.parsing import one_line_errors as one_line_errors
from jrt_jax.command_line.parsing import one_line_failures as one_line_failures
from jrt_jax.command_line.parsing import output_file as output_file
from jrt_jax.command_line.parsing import output_folder as output_folder
from jrt_jax.command_line.parsing import parser as parser
from jrt_jax.command_line.parsing import reading as reading
