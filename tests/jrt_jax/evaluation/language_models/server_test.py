"""A server is asked over HTTP; what it does wrong is told in one line."""

import http.server
import json
import math
import threading
import time

import pytest
import tokenizers

from jrt_jax.evaluation import language_models
from jrt_jax.evaluation.language_models import json_client

VOWELS = 'aeiou'


class Handler(http.server.BaseHTTPRequestHandler):
  """Serves a model whose tokens are characters, of which it likes vowels."""

  def do_GET(self):
    if self.server.on_get:
      return self.server.on_get(self)
    self.say({'object': 'list', 'data': self.server.models})

  def do_POST(self):
    length = int(self.headers['Content-Length'])
    self.asked = json.loads(self.rfile.read(length))
    self.server.asked.append((self.asked, dict(self.headers)))
    if self.server.on_post:
      return self.server.on_post(self)
    self.say(self.completion())

  def completion(self):
    prompt = self.asked['prompt']
    text = f' {prompt[-1]} is the end. That is all'
    choice = {'text': text, 'index': 0, 'logprobs': None}
    if self.asked.get('echo'):
      choice = {
          'text': prompt + text[:1],
          'logprobs': logprobs(['<s>', *prompt, text[0]]),
      }
    usage = {'prompt_tokens': 1 + len(prompt), 'completion_tokens': 9}
    return {'choices': [choice], 'usage': usage}

  def say(self, answer, code=200, **headers):
    content = answer if isinstance(answer, bytes) else json.dumps(answer)
    self.send_response(code)
    for name, value in headers.items():
      self.send_header(name, value)
    self.end_headers()
    self.wfile.write(content if answer is content else content.encode())

  def log_message(self, *unused):
    pass


def logprobs(tokens):
  own = [None] + [-0.5 if x in VOWELS else -2.0 for x in tokens[1:]]
  return {
      'tokens': tokens,
      'token_logprobs': own,
      'top_logprobs': [None]
      + [{x: p, 'e': -0.5} for x, p in zip(tokens[1:], own[1:])],
      'text_offset': [0] * len(tokens),
  }


@pytest.fixture
def server(monkeypatch):
  """A running server; `on_get` and `on_post` make it another."""
  monkeypatch.setenv('no_proxy', '*')
  monkeypatch.delenv(json_client.KEY, raising=False)
  monkeypatch.setattr(json_client, '_WAITS', (0.0, 0.0))
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  server.daemon_threads = True
  server.models = [{'id': 'vowels', 'max_model_len': 99}]
  server.on_get = server.on_post = None
  server.asked = []
  server.url = f'http://127.0.0.1:{server.server_port}/v1'
  thread = threading.Thread(target=server.serve_forever, args=(0.01,))
  thread.start()
  yield server
  server.shutdown()
  thread.join()
  server.server_close()


def test_a_server_continues_prompts(server):
  model = language_models.load(server.url)
  assert isinstance(model, language_models.LanguageModel)
  assert model.name == f'{server.url}#vowels' and model.max_length == 99
  found = model.generate(['abc', 'xy'], max_tokens=7, stop=['. '])
  assert [x.text for x in found] == [' c is the end', ' y is the end']
  assert [x.prompt_tokens for x in found] == [4, 3]
  assert math.isnan(found[0].prefill_seconds)
  assert sorted(asked['prompt'] for asked, _ in server.asked) == ['abc', 'xy']
  for asked, headers in server.asked:
    assert asked['model'] == 'vowels' and asked['temperature'] == 0
    assert asked['max_tokens'] == 7 and asked['stop'] == ['. ']
    assert 'Authorization' not in headers


def test_answers_come_in_the_order_of_prompts(server):
  def slower_at_first(handler):
    time.sleep(0.05 * (handler.asked['prompt'] == '0'))
    handler.say(handler.completion())

  server.on_post = slower_at_first
  model = language_models.load(server.url, batch_size=3)
  found = model.generate([*'012345'], max_tokens=1)
  assert [x.text[1] for x in found] == [*'012345']


def test_a_server_may_take_few_stop_texts(server):
  model = language_models.load(server.url)
  stop = [*'0123', ' end']
  (found,) = model.generate(['a'], max_tokens=3, stop=stop)
  assert found.text == ' a is the'
  assert server.asked[0][0]['stop'] == [*'0123']


def test_nothing_is_written_where_no_tokens_are_asked_for(server):
  (found,) = language_models.load(server.url).generate(['a'], max_tokens=0)
  assert found.text == '' and found.prompt_tokens == 2


@pytest.mark.parametrize(
    ('pair', 'expected'),
    [
        (('abc', 'eio'), (-1.5, True, 3)),
        (('abc', ' es'), (-4.5, False, 3)),
        (('abc ', 'es'), (-4.5, False, 3)),  # spaces are what follows
        (('abc', ''), (0.0, True, 0)),
    ],
)
def test_the_tokens_of_a_continuation_are_scored(server, pair, expected):
  (score,) = language_models.load(server.url).log_likelihood([pair])
  assert score == expected


@pytest.fixture
def tokenizer(tmp_path):
  """Of characters, as the server's."""
  vocabulary = {c: i for i, c in enumerate('abcdefg é<')}
  model = tokenizers.models.BPE(vocabulary, [])
  found = tokenizers.Tokenizer(model)
  found.add_special_tokens(['</s>'])
  found.decoder = tokenizers.decoders.Fuse()
  found.save(str(tmp_path / 'tokenizer.json'))
  return tmp_path / 'tokenizer.json'


def test_tokens_that_spell_nothing_are_counted_by_the_tokenizer(
    server, tokenizer
):
  def in_pieces(handler):
    answer = handler.completion()
    shown = answer['choices'][0]['logprobs']['tokens']
    shown[:] = [token.replace('é', '\ufffd') for token in shown]
    handler.say(answer)

  server.on_post = in_pieces
  pairs = [('abc', ' dé')]
  with pytest.raises(language_models.NoLogLikelihoods, match='tokenizer.json'):
    language_models.load(server.url).log_likelihood(pairs)
  model = language_models.load(server.url, tokenizer=str(tokenizer))
  assert model.log_likelihood(pairs) == [(-6.0, False, 3)]
  assert model.unit == 'tokens'
  assert model.encode('abc') == [0, 1, 2] and model.decode([0, 1]) == 'ab'


def test_without_a_tokenizer_words_are_counted(server):
  model = language_models.load(server.url)
  assert model.unit == 'words'
  ids = model.encode('two words')
  assert len(ids) == 2 and model.decode(ids) == 'two words'


def without_logprobs(answer):
  answer['choices'][0]['logprobs'] = None


def of_new_tokens_only(answer):
  answer['choices'][0] = {'text': ' ', 'logprobs': logprobs([' '])}


def of_chats(answer):
  answer['choices'][0]['logprobs'] = {'content': []}


def without_a_token(answer):
  answer['choices'][0]['logprobs'] = logprobs([*'bc', ' '])
  answer['choices'][0]['text'] = 'abc '


@pytest.mark.parametrize(
    'change',
    [without_logprobs, of_new_tokens_only, of_chats, without_a_token],
)
def test_a_server_may_not_score(server, change):
  def changed(handler):
    answer = handler.completion()
    change(answer)
    handler.say(answer)

  server.on_post = changed
  model = language_models.load(server.url)
  with pytest.raises(
      language_models.NoLogLikelihoods, match='must return the log-likelihoods'
  ) as error:
    model.log_likelihood([('a', 'bc')])
  assert str(error.value).startswith(server.url)
  assert len(str(error.value).splitlines()) == 1


def test_a_server_may_refuse_to_score(server):
  server.on_post = lambda handler: handler.say(
      {'error': {'message': 'echo is\nnot supported'}}, 400
  )
  model = language_models.load(server.url)
  with pytest.raises(
      language_models.NoLogLikelihoods, match='HTTP 400: .*echo is'
  ):
    model.log_likelihood([('a', 'b')])


def test_what_follows_nothing_is_not_scored(server):
  model = language_models.load(server.url)
  with pytest.raises(
      ValueError, match='a context must have at least one token'
  ):
    model.log_likelihood([(' ', 'b')])


def test_the_key_is_sent_to_nobody_else(server, monkeypatch):
  monkeypatch.setenv(json_client.KEY, 'secret')
  model = language_models.load(server.url)
  model.generate(['a'], max_tokens=1)
  assert server.asked[0][1]['Authorization'] == 'Bearer secret'
  server.on_get = lambda handler: handler.say({}, 302, Location='/v1/others')
  with pytest.raises(ValueError, match='/models answers with HTTP 302'):
    language_models.load(server.url)


def test_a_missing_key_is_named(server):
  server.on_get = lambda handler: handler.say({}, 401)
  with pytest.raises(ValueError, match=f'401; the key is .* {json_client.KEY}'):
    language_models.load(server.url)


def test_one_of_several_models_is_named(server):
  server.models = [{'id': 'a'}, {'id': 'b'}]
  with pytest.raises(ValueError, match="#NAME must name one of a, b, got ''"):
    language_models.load(server.url)
  with pytest.raises(ValueError, match="#NAME must name one of a, b, got 'c'"):
    language_models.load(f'{server.url}#c')
  assert language_models.load(f'{server.url}#b').name == f'{server.url}#b'


def test_a_server_may_not_list_its_models(server):
  server.on_get = lambda handler: handler.say(b'no such page', 404)
  with pytest.raises(
      ValueError,
      match='/models answers with HTTP 404: no such page; the URL must',
  ):
    language_models.load(server.url)
  model = language_models.load(f'{server.url}#mine')
  assert model.max_length is None
  model.generate(['a'], max_tokens=1)
  assert server.asked[0][0]['model'] == 'mine'


@pytest.mark.parametrize('fails', ['busy', 'lost'])
def test_what_passes_is_tried_again(server, fails):
  failures = [None] * 2

  def at_first(handler):
    if not failures:
      handler.say(handler.completion())
    else:
      failures.pop()
      if fails == 'busy':
        handler.say({}, 503)

  server.on_post = at_first
  model = language_models.load(server.url)
  (found,) = model.generate(['a'], max_tokens=1)
  assert found.text and not failures


@pytest.mark.parametrize(
    ('answer', 'code', 'message'),
    [
        (b'<html>', 200, 'the answer of .*/completions must be JSON: '),
        (b'\xff\x00', 200, 'the answer of .*/completions must be JSON: '),
        ({}, 200, 'completions: choices must be given'),
        ({'choices': []}, 200, 'choices must be a list of 1 to'),
        ({'choices': [{'text': 3}]}, 200, 'text must be a text'),
        ({'error': 'too\nlong\x1b[2J'}, 400, 'HTTP 400: .*long'),
        (b'late', 503, 'completions answers with HTTP 503: late'),
    ],
)
def test_a_wrong_answer_is_one_line(server, answer, code, message):
  server.on_post = lambda handler: handler.say(answer, code)
  model = language_models.load(server.url)
  with pytest.raises(ValueError, match=message) as error:
    model.generate(['a', 'b'], max_tokens=1)
  assert str(error.value).isprintable()


def test_a_server_that_is_not_there_is_named(server):
  server.server_close()
  with pytest.raises(
      ValueError, match='must be a server that answers: .*refus'
  ):
    language_models.load(server.url)


def test_a_server_that_keeps_silent_is_not_waited_for(server):
  waiting = threading.Event()
  server.on_post = lambda handler: waiting.wait(10)
  model = language_models.load(server.url, timeout=0.1)
  with pytest.raises(ValueError, match='completions must answer within 0.1 s'):
    model.generate(['a'], max_tokens=1)
  assert len(server.asked) == 1
  waiting.set()


@pytest.mark.parametrize('option', ['batch_size', 'timeout'])
def test_options_are_positive(option):
  with pytest.raises(ValueError, match='and timeout must be positive, got'):
    language_models.load('http://127.0.0.1:9/v1', **{option: 0})
