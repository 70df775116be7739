"""What commands share: flags, one-line errors, files that they read and write.

Only commands may import it, because it changes the program: from its import on,
Ctrl-C prints one line. Commands import it before modules that take long.
"""

from jrt_jax.command_line.errors import one_line_errors as one_line_errors
from jrt_jax.command_line.errors import one_line_failures as one_line_failures
from jrt_jax.command_line.files import output_file as output_file
from jrt_jax.command_line.files import output_folder as output_folder
from jrt_jax.command_line.files import reading as reading
from jrt_jax.command_line.files import required as required
from jrt_jax.command_line.parsing import parser as parser
from jrt_jax.command_line.shared_flags import define_batch_size as define_batch_size
from jrt_jax.command_line.shared_flags import define_compilation_cache as define_compilation_cache
from jrt_jax.command_line.shared_flags import define_limit as define_limit
from jrt_jax.command_line.shared_flags import define_tokenizer as define_tokenizer
from jrt_jax.command_line.shared_flags import define_workdir as define_workdir
from jrt_jax.command_line.shared_flags import use_compilation_cache as use_compilation_cache
from jrt_jax.runtime.exit_codes import FAILURE as FAILURE
from jrt_jax.runtime.exit_codes import INTERRUPTED as INTERRUPTED
from jrt_jax.runtime.exit_codes import MISTAKE as MISTAKE
