"""Finds the Parquet files of a data set of the Hugging Face Hub.

The Hub keeps a branch with a Parquet version of every public data set:
https://huggingface.co/docs/dataset-viewer/parquet.
"""

import re

_BRANCH = 'refs/convert/parquet'
_PARTLY = 'partial-'  # begins the folder of a split that is not whole there
_PART = '-part'  # and a number end the folders of a split with many files


def find(dataset: str, split: str) -> list[str]:
  """Returns the URLs of the Parquet files of a split, in their order.

  They name the present commit, so that a command that continues reads the same
  files.

  Args:
    dataset: OWNER/NAME, or OWNER/NAME:CONFIG if it has several configurations.
    split: the split, such as 'train'.

  Raises:
    ValueError: there is no such configuration or split, the Hub has converted
      only a part of it, or the package huggingface_hub is missing.
    OSError: the data set cannot be reached.
  """
  name, _, config = dataset.partition(':')
  commit, files = _converted(name)
  configs = sorted({file.split('/')[0] for file in files})
  if not config:
    config = 'default' if 'default' in configs else configs[0]
    if len(configs) > 1 and config != 'default':
      raise ValueError(
          f'--dataset must name a configuration of {name}, as in'
          f' {name}:{config}; it has {", ".join(configs)}'
      )
  of_split = {}
  for file in files:
    own_config, folder, _ = file.split('/')
    if own_config == config:
      of_split.setdefault(folder.partition(_PART)[0], []).append(file)
  if _PARTLY + split in of_split:
    raise ValueError(
        f'--dataset={dataset}: the Hub has converted only a part of the split'
        f' {split!r} to Parquet: name files of the data set itself, as in'
        f" --input='hf://datasets/{name}/**/*.parquet'"
    )
  if split not in of_split:
    raise ValueError(
        f'--split must be a split of --dataset={dataset}, got {split!r}; the'
        f' configuration {config!r} has {", ".join(of_split) or "none"}, and'
        f' the configurations are {", ".join(configs)}'
    )
  return [f'hf://datasets/{name}@{commit}/{x}' for x in of_split[split]]


def _converted(name):
  """Returns the commit of the Parquet version, and its files, sorted."""
  try:
    import huggingface_hub  # needs an extra
  except ImportError as error:
    raise ValueError(
        '--dataset needs the package huggingface_hub: pip install -e'
        " '.[parquet]'"
    ) from error
  try:
    info = huggingface_hub.HfApi().dataset_info(name, revision=_BRANCH)
  except Exception as error:  # of many kinds
    reason = ' '.join(str(error).split())
    raise OSError(
        f'--dataset={name} cannot be read from the Hugging Face Hub: {reason}'
    ) from error
  names = sorted((file.rfilename for file in info.siblings or ()), key=_order)
  files = [x for x in names if x.endswith('.parquet') and x.count('/') == 2]
  if not files:
    raise ValueError(f'--dataset={name} has no Parquet version on the Hub')
  return info.sha, files


def _order(name):
  """A key to sort names by, in which part 2 comes before part 10."""
  return [int(x) if x.isdigit() else x for x in re.split(r'(\d+)', name)]
