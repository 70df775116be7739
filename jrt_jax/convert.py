r"""Converts workdirs to and from the checkpoints of other code.

python -m jrt_jax.convert from_official --input=DIR --workdir=WORKDIR \
    --tokenizer=tokenizer.json
python -m jrt_jax.convert to_official --workdir=WORKDIR --out=DIR
python -m jrt_jax.convert from_hf --input=DIR --workdir=WORKDIR
python -m jrt_jax.convert from_mamba2 --input=DIR --workdir=WORKDIR
python -m jrt_jax.convert to_compact --workdir=WORKDIR --out=DIR

`official` is a checkpoint of HazyResearch's JRT, Based or attention models:
config.json with safetensors or pytorch_model.bin (which needs torch). `hf` is a
directory that `jrt_jax.export` has written. `mamba2` is a model of Mamba-2: a
directory of transformers or of its authors' package, mamba_ssm. `compact` is a
workdir of three files, with weights in bfloat16 and without optimizer states:
all commands read it, and training can start from it. --check compares the
logits with those of another implementation. Exit codes: 0 for success, 1 if
logits differ by more than --tolerance, 2 for a mistake in the command or in the
files.
"""

from collections.abc import Callable
import functools
import pathlib
import sys

from absl import app
from absl import flags

from configs import base
from jrt_jax import command_line
from jrt_jax import renamed
from jrt_jax.data import tokenizers
from jrt_jax.data import vocabulary
from jrt_jax.interchange import agreement
from jrt_jax.interchange import exported_tokenizer
from jrt_jax.interchange import folders
from jrt_jax.interchange import hugging_face
from jrt_jax.interchange import mamba2
from jrt_jax.interchange import official
from jrt_jax.training import compact
from jrt_jax.training import workdirs

_INPUT = flags.DEFINE_string(
    'input', None, 'from_*: the folder of the checkpoint.'
)
_WORKDIR = flags.DEFINE_string(
    'workdir',
    None,
    'from_*: the workdir to write; to_*: the workdir of the run.',
)
_OUT = flags.DEFINE_string(
    'out', None, 'to_official, to_compact: the folder to write; must be new.'
)
_TOKENIZER = flags.DEFINE_string(
    'tokenizer',
    None,
    'The tokenizer.json of the model, if it is not in --input and the config of'
    ' --workdir does not name it.',
)
_BIN = flags.DEFINE_bool(
    'bin',
    False,
    'to_official: write pytorch_model.bin instead of model.safetensors; needs'
    ' torch.',
)
_CHECK = flags.DEFINE_string(
    'check',
    None,
    'An .npz file with input_ids [B, L] and the expected logits,'
    ' logits_parallel [B, L, V].',
)
_TOLERANCE = flags.DEFINE_float(
    'tolerance',
    1e-4,
    'The largest difference of logits that --check accepts.',
    lower_bound=0.0,
)
command_line.define_compilation_cache()


def import_from(read: Callable, source: str, destination: pathlib.Path) -> None:
  """Makes the workdir `destination` from the checkpoint `source`.

  Args:
    read: maps a folder and the default config to a config and parameters.
    source, destination: folders.
  """
  config, params = read(source, base.get_config().to_dict())
  config['data'] = {**config['data'], 'tokenizer': _tokenizer(config)[0]}
  if not config['data']['tokenizer']:
    print(
        f'{source} has no tokenizer.json: pass --tokenizer=FILE now, or later'
        ' to every command that reads text'
    )
  workdirs.write(destination, config, params, origin=f'converted: {source}')
  print(
      f'wrote {destination}; python -m jrt_jax.train --from={destination}'
      ' --workdir=DIR starts a run from it'
  )


def to_official(source: str, destination: pathlib.Path) -> None:
  """Writes the newest weights of the workdir `source` to `destination`."""
  folders.check_empty('--out', destination)
  config, params, step = workdirs.read(source)
  tokenizer, loaded = _tokenizer(config)
  with folders.whole(destination) as new:
    official.write(new, config, params, use_torch=_BIN.value)
    if loaded:
      exported_tokenizer.write(new, tokenizer, loaded.eos_id)
  print(f'wrote {destination}')
  if not loaded:
    print(f'{source} has no tokenizer: --tokenizer=FILE adds one')
  if workdirs.is_unfinished(config, step):
    print(f"the run is not finished: step {step} of {config['steps']}")


def to_compact(source: str, destination: pathlib.Path) -> None:
  """Writes the newest weights of the workdir `source` as a compact run."""
  folders.check_empty('--out', destination)
  config, params, step = workdirs.read(source)
  tokenizer, _ = _tokenizer(config)
  if not tokenizer:
    raise ValueError(f'--tokenizer=FILE must be given: {source} has none')
  config['data'] = {**config['data'], 'tokenizer': tokenizer}
  trained_on = workdirs.trained_on(source, step)
  with folders.whole(destination) as new:
    compact.write(new, config, params, step=step, data=trained_on)
  print(f'wrote {destination}: pass it to other commands as --workdir')


def _tokenizer(config):
  """Returns (name, tokenizer), or ('', None) if none is known."""
  name = _TOKENIZER.value or config['data']['tokenizer']
  if not name:
    return '', None
  try:
    loaded = tokenizers.load(name)
  except FileNotFoundError as error:
    raise FileNotFoundError(
        f'{error}: pass --tokenizer=FILE with its new path'
    ) from error
  model = config['model']
  if vocabulary.with_vocabulary(model, loaded, config['objective']) != model:
    raise ValueError(
        f"config.model.vocab_size must hold the tokenizer's {loaded.size} ids,"
        f' got {model["vocab_size"]}: it is the tokenizer of another model'
    )
  return name, loaded


# The function of each conversion; the flags of the folder that it reads, of the
# folder that it writes, and of the workdir whose logits --check compares.
CONVERSIONS = {
    'from_official': (
        functools.partial(import_from, official.read),
        *(_INPUT, _WORKDIR, _WORKDIR),
    ),
    'from_hf': (
        functools.partial(import_from, hugging_face.read),
        *(_INPUT, _WORKDIR, _WORKDIR),
    ),
    'from_mamba2': (
        functools.partial(import_from, mamba2.read),
        *(_INPUT, _WORKDIR, _WORKDIR),
    ),
    'to_official': (to_official, _WORKDIR, _OUT, _WORKDIR),
    'to_compact': (to_compact, _WORKDIR, _OUT, _OUT),
}


def main(argv: list[str]) -> None:
  name, *rest = argv[1:]
  with command_line.one_line_errors():
    if name in renamed.CONVERSIONS:
      raise ValueError(f'{name} is now {renamed.CONVERSIONS[name]}')
    if name not in CONVERSIONS or rest:
      raise ValueError(
          f'the conversion must be one of {", ".join(CONVERSIONS)}, got'
          f' {" ".join(argv[1:])}'
      )
    convert, read, written, checked = CONVERSIONS[name]
    source = command_line.required(read, 'DIR')
    destination = command_line.output_folder(written)
    if _CHECK.value:
      with command_line.reading('--check'):
        open(_CHECK.value, 'rb').close()
    command_line.use_compilation_cache()
    print(f'reading {source}', flush=True)
    convert(source, destination)
    if _CHECK.value:
      _check(checked.value)


def _check(workdir):
  """Prints the difference of logits; ends the program if it is too large."""
  config, params, _ = workdirs.read(workdir)
  difference = agreement.max_difference(config, params, _CHECK.value)
  print(f'max |Δlogit| = {difference:.3g}')
  if not difference <= _TOLERANCE.value:  # NaN fails too
    print(
        'error: max |Δlogit| must be at most'
        f' --tolerance={_TOLERANCE.value:g}, got {difference:.3g}',
        file=sys.stderr,
    )
    sys.exit(command_line.FAILURE)


if __name__ == '__main__':
  app.run(
      main,
      flags_parser=command_line.parser(
          arguments=(
              'from_official, from_hf, from_mamba2, to_official or to_compact'
          )
      ),
  )
