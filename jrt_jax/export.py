r"""Writes a run as a directory that Hugging Face transformers loads.

python -m jrt_jax.export --workdir=runs/jrt_tiny --out=jrt_tiny_hf

AutoModelForCausalLM.from_pretrained('jrt_tiny_hf', trust_remote_code=True) then
loads the model with its newest weights. Writing needs neither torch nor
transformers. This converts the directory back:

python -m jrt_jax.convert from_hf --input=jrt_tiny_hf --workdir=WORKDIR
"""

from absl import app
from absl import flags

from jrt_jax import command_line
from jrt_jax import generation
from jrt_jax.interchange import folders
from jrt_jax.interchange import hugging_face
from jrt_jax.training import workdirs

_WORKDIR = flags.DEFINE_string('workdir', None, 'The folder of the run.')
_TOKENIZER = flags.DEFINE_string(
    'tokenizer', None, 'The tokenizer.json of the run, if it has moved.'
)
_OUT = flags.DEFINE_string('out', None, 'The directory to write; must be new.')


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors():
    workdir = command_line.required(_WORKDIR, 'DIR')
    out = command_line.output_folder(_OUT)
    folders.check_empty('--out', out)
    model = generation.load(
        workdir,
        tokenizer=_TOKENIZER.value,
        implementation='auto',  # nothing is computed here
        exact=True,
    )
    tokenizer = _TOKENIZER.value or model.config['data']['tokenizer']
    hugging_face.write(model, out, tokenizer=tokenizer)
    print(f'wrote step {model.step} of {workdir} to {out}')
    if workdirs.is_unfinished(model.config, model.step):
      print(f"the run is not finished: it has {model.config['steps']} steps")


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
