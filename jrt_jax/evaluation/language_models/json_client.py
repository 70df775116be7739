"""JSON over HTTP: every failure is one line that names the URL."""

from collections.abc import Mapping
import http.client
import json
import os
import time
from typing import Any
import urllib.error
import urllib.request

from jrt_jax import foreign
from jrt_jax import schema as schema_lib

KEY = 'JRT_JAX_API_KEY'  # of the environment
_WAITS = (1.0, 4.0)  # seconds between attempts
_MAY_PASS = {429, 500, 502, 503, 504}  # HTTP: too many requests, restarts
_MOST_BYTES = 2**26


class Refused(ValueError):
  """A server has answered with an HTTP error."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
  """Follows no redirects: requests and the key go only to the given server."""

  def redirect_request(self, *unused):
    return None


class JsonClient:
  """A client of one server.

  Args:
    url: the base URL, to which paths are added.
    timeout: seconds in which the server must send something.
  """

  def __init__(self, url: str, *, timeout: float):
    self._url, self._timeout = url.rstrip('/'), timeout
    self._headers = {'Content-Type': 'application/json'}
    if key := os.environ.get(KEY):
      self._headers['Authorization'] = f'Bearer {key}'
    self._opener = urllib.request.build_opener(_NoRedirects)

  def ask(
      self,
      path: str,
      schema: schema_lib.Value,
      *,
      body: Mapping[str, Any] | None = None,
  ) -> Any:
    """Returns the server's answer to a GET, or to a POST if there is a `body`.

    Temporary failures are retried a few times: lost connections, and errors of
    a busy server. A request that times out is not retried.

    Raises:
      Refused: the server answers with an HTTP error.
      ValueError: it does not answer, or the answer does not fit `schema`.
    """
    url = f'{self._url}{path}'
    data = None if body is None else json.dumps(body).encode()
    for wait in (*_WAITS, None):
      try:
        with self._opener.open(
            urllib.request.Request(url, data, self._headers),
            timeout=self._timeout,
        ) as response:
          content = response.read(_MOST_BYTES + 1)
        break
      except urllib.error.HTTPError as error:
        if wait is None or error.code not in _MAY_PASS:
          raise Refused(_refusal(url, error)) from error
      except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, 'reason', error)
        if isinstance(reason, TimeoutError):
          raise ValueError(
              f'{url} must answer within {self._timeout:g} s, it did not'
          ) from error
        if wait is None:
          raise ValueError(
              f'{url} must be a server that answers: {_line(reason)}'
          ) from error
      time.sleep(wait)
    if len(content) > _MOST_BYTES:
      raise ValueError(f'{url} must answer with at most {_MOST_BYTES:,} bytes')
    return foreign.parse_json(content, f'the answer of {url}', schema)


def _refusal(url, error):
  try:
    said = error.read(2**16).decode(errors='replace')
  except (OSError, http.client.HTTPException):
    said = ''
  hint = f'; the key is taken from {KEY}' if error.code in (401, 403) else ''
  return f'{url} answers with HTTP {error.code}{hint}: {_line(said)}'


def _line(said):
  """Returns a server's text as one printable line."""
  text = ' '.join(str(said).split())[:200]
  return ''.join(c if c.isprintable() else '?' for c in text) or 'no reason'
