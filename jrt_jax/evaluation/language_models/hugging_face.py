"""Causal language models of Hugging Face transformers."""

from collections.abc import Sequence
import inspect
import pathlib
import time

import torch
import transformers

from jrt_jax import foreign
from jrt_jax.evaluation.language_models import fingerprints
from jrt_jax.evaluation.language_models import texts
from jrt_jax.evaluation.language_models.protocol import Completion
from jrt_jax.evaluation.language_models.protocol import Score


class HuggingFace:
  """A `LanguageModel` of transformers.

  Scores are computed causally, so that no token can see itself. This is also so
  for models exported from this package: they read prompts with a prefix when
  they generate, but not when they score. The workdir of such a model uses
  prefixes for both.

  Args:
    name: a model on the hub, its folder, or a .gguf file.
    batch_size: how many texts are read at once.
    dtype: the dtype of weights, such as 'bfloat16'; 'auto': as stored. None:
      float32 on a CPU, else as stored.
    device: a device of torch. None: a GPU if there is one.
    trust_remote_code: whether Python code that comes with the model may run.

  Raises:
    FileNotFoundError, ValueError: there is no such model, it cannot be read, or
      an option is out of range.
  """

  unit = 'tokens'

  def __init__(
      self,
      name: str,
      *,
      batch_size: int = 8,
      dtype: str | None = None,
      device: str | None = None,
      trust_remote_code: bool = False,
  ):
    self.name, self._batch_size = f'hf:{name}', batch_size
    self._device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    self.device = _checked_device(self._device)
    dtype = dtype or ('float32' if self.device == 'CPU' else 'auto')
    if dtype != 'auto' and not isinstance(
        getattr(torch, dtype, 0), torch.dtype
    ):
      raise ValueError(
          f"dtype must be a name such as 'bfloat16', or 'auto', got {dtype!r}"
      )
    self._tokenizer, model = _load(name, dtype, trust_remote_code)
    with foreign.intact(self.name, f'model that fits on {self._device}'):
      self._model = model.to(self._device).eval()
    self.fingerprint = _fingerprint(name, model)
    self._ends = _ends(model, self._tokenizer)
    self._starts = _starts(self._tokenizer)
    self._fill = self._ends[0] if self._ends else 0
    # The settings that come with a model may sample, or penalise repetitions.
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=self._ends or None, pad_token_id=self._fill
    )
    self.max_length = _max_length(model)
    self._continue([[self._fill]], 1, ())  # the first call takes longer

  def encode(self, text: str) -> list[int]:
    return self._tokenizer(
        text, add_special_tokens=False, verbose=False
    ).input_ids

  def decode(self, ids: Sequence[int]) -> str:
    return self._tokenizer.decode(
        ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )

  def generate(
      self, prompts: Sequence[str], *, max_tokens: int, stop: Sequence[str] = ()
  ) -> list[Completion]:
    rows = [self._context(self.encode(prompt)) for prompt in prompts]
    self._check_length(rows, max_tokens)
    return texts.in_batches(
        lambda batch: self._continue(batch, max_tokens, stop),
        rows,
        length=len,
        batch_size=self._batch_size,
        what='generating',
    )

  def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> list[Score]:
    ids = [texts.encode_pair(self.encode, *pair) for pair in pairs]
    rows = [(self._context(context), after) for context, after in ids]
    self._check_length([context + after for context, after in rows], 0)
    return texts.in_batches(
        self._score,
        rows,
        length=lambda row: sum(map(len, row)),
        batch_size=self._batch_size,
        what='scoring',
    )

  def _check_length(self, rows, more):
    longest = max(map(len, rows), default=0)
    texts.check_length(self.name, longest, more, self.max_length)

  def _context(self, ids):
    """The ids with the special tokens before a text; never empty."""
    return self._starts + ids or [self._fill]

  @torch.inference_mode()
  def _continue(self, rows, max_tokens, stop):
    tokens, mask = self._filled(rows, left=True)
    ended = _Ended(self, tokens.shape[1], stop)
    start = time.perf_counter()
    drawn = self._model.generate(
        tokens,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=max(max_tokens, 1),  # 0 is not allowed
        stopping_criteria=[ended],
    )[:, tokens.shape[1] :]
    counts = [len(row) for row in rows]
    seconds = texts.shares(ended.first - start, counts)
    found = [self._text(ids[:max_tokens], stop) for ids in drawn.tolist()]
    return [Completion(*row) for row in zip(found, counts, seconds)]

  def _text(self, ids, stop):
    end = next((i for i, x in enumerate(ids) if x in self._ends), None)
    return texts.before_stop(self.decode(ids[:end]), stop)

  @torch.inference_mode()
  def _score(self, rows):
    tokens, mask = self._filled([c + x for c, x in rows], left=False)
    # The positions before the scored tokens.
    at = [range(len(c) - 1, len(c) + len(x) - 1) for c, x in rows]
    kept = sorted({position for places in at for position in places})
    place = {position: i for i, position in enumerate(kept)}
    logits = self._logits(tokens, mask, kept)
    return [
        _score(row[[place[i] for i in places]], tokens.new_tensor(after))
        for row, places, (_, after) in zip(logits, at, rows)
    ]

  def _logits(self, tokens, mask, kept):
    """Returns logits [B, len(kept), V] after these positions.

    Most models compute only these: all logits would be larger than the weights.
    """
    kept = tokens.new_tensor(kept)
    run = {'input_ids': tokens, 'attention_mask': mask, 'use_cache': False}
    if 'logits_to_keep' in inspect.signature(self._model.forward).parameters:
      return self._model(**run, logits_to_keep=kept).logits
    return self._model(**run).logits[:, kept]

  def _filled(self, rows, left):
    """Pads rows; returns tokens and mask, int [B, L]."""
    L = max(map(len, rows))
    tokens = torch.full((len(rows), L), self._fill, device=self._device)
    mask = torch.zeros_like(tokens)
    for b, row in enumerate(rows):
      at = slice(L - len(row), L) if left else slice(len(row))
      tokens[b, at] = tokens.new_tensor(row)
      mask[b, at] = 1
    return tokens, mask


class _Ended(transformers.StoppingCriteria):
  """Decides after each token which rows have a stop text.

  Attributes:
    first: the time of the first token, when the prompts have been read.
  """

  def __init__(self, model: HuggingFace, start: int, stop: Sequence[str]):
    self._model, self._start, self._stop = model, start, stop
    self.first = None

  def __call__(self, input_ids, scores, **unused):
    drawn = input_ids[:, self._start :].tolist()  # waits for the device
    self.first = self.first or time.perf_counter()
    found = [
        any(stop in self._model.decode(row) for stop in self._stop)
        for row in drawn
    ]
    return torch.tensor(found, device=input_ids.device)


load = HuggingFace


def _checked_device(device):
  """Returns the name of a device, after checking that torch has it."""
  try:
    torch.empty(0, device=device)
  except (RuntimeError, AssertionError, NotImplementedError) as error:
    reason = str(error).splitlines()[0]
    raise ValueError(
        f"device must be one that torch has, such as 'cpu' or 'cuda:0', got"
        f' {device!r}: {reason}'
    ) from error
  if torch.device(device).type == 'cuda':
    return torch.cuda.get_device_name(device)
  return torch.device(device).type.upper()


def _load(name, dtype, trust_remote_code):
  """Returns a tokenizer and a model; raises what `HuggingFace` does."""
  folder, file = _place(name)
  options = {**file, 'trust_remote_code': trust_remote_code}
  try:
    with foreign.intact(f'hf:{name}', 'causal language model of transformers'):
      return (
          transformers.AutoTokenizer.from_pretrained(folder, **options),
          transformers.AutoModelForCausalLM.from_pretrained(
              folder, dtype=dtype, **options
          ),
      )
  except ValueError as error:
    if 'custom code' not in str(error):
      raise
    raise ValueError(
        f'hf:{name} must be given trust_remote_code=True to run the Python code'
        ' that comes with it: read that first'
    ) from error


def _place(name):
  """Returns a folder or a name, and the file in it if it is a .gguf file."""
  path = pathlib.Path(name).expanduser()
  if path.suffix != '.gguf':
    return (path if path.is_dir() else name), {}
  if not path.is_file():
    raise FileNotFoundError(f'hf:{name} must be a file that exists')
  return path.parent, {'gguf_file': path.name}


def _fingerprint(name, model):
  """The digest of files; for a name on the hub its commit, if it is known."""
  path = pathlib.Path(name).expanduser()
  if path.exists():
    return fingerprints.of_weights(path)
  return getattr(model.config, '_commit_hash', None)


def _max_length(model):
  """The number of positions of the model; None for a recurrent model."""
  if getattr(model, '_is_stateful', False):
    return None
  config = model.config.get_text_config()
  return getattr(config, 'max_position_embeddings', None)


def _ends(model, tokenizer):
  """The ids that end a text."""
  ends = model.generation_config.eos_token_id
  if ends is None:
    ends = tokenizer.eos_token_id
  return [ends] if isinstance(ends, int) else [*(ends or ())]


def _starts(tokenizer):
  """The ids that stand before a text."""
  ids, start = tokenizer('a').input_ids, tokenizer.bos_token_id
  return [start] if start is not None and ids[0] == start else []


def _score(logits, after) -> Score:
  """The score of tokens int [m], from the logits [m, V] before them."""
  log_probs = logits.float().log_softmax(-1)
  total = log_probs.gather(-1, after[:, None]).double().sum()
  is_greedy = (logits.argmax(-1) == after).all()
  return Score(total.item(), bool(is_greedy), len(after))
