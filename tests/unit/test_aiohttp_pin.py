"""The insides of aiohttp that ``producers/server.py`` leans on are the ones that it was written for."""

from __future__ import annotations

import inspect
import re

from aiohttp import http_writer, streams, web_protocol
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser
from aiohttp.web import RequestHandler, StreamResponse

from producers.answers import answer


def test_a_request_is_a_task_that_is_awaited_where_it_is_made() -> None:
    """Then it can as well run in the connection's own task; that the loop is taken from ``_loop`` is the way in."""
    source = inspect.getsource(RequestHandler.start)
    assert "loop = self._loop\n" in source
    assert re.search(r"task = loop\.create_task\(coro\)\n\s+try:\n\s+resp, reset = await task\n", source)
    assert source.count("create_task") == 2  # the other begins at once, on Python 3.14
    assert "loop.create_task(self.start())" in inspect.getsource(RequestHandler.connection_made)
    assert "loop." not in inspect.getsource(http_writer).replace("self.loop = loop", "")


def test_the_parser_is_only_paused_where_the_connection_says_so() -> None:
    """Reading that is not paused needs no resuming: nothing lies unread in the parser."""
    source = inspect.getsource(BaseProtocol.pause_reading)
    assert source.index("self._reading_paused = True") < source.index("self._parser.pause_reading()")
    assert "self._buffer_paused = True" in inspect.getsource(BaseProtocol._pause_reading_for_buffer)  # noqa: SLF001
    assert "_parser.pause_reading" not in inspect.getsource(web_protocol)
    assert "_parser.pause_reading" not in inspect.getsource(streams)
    assert hasattr(HttpRequestParser, "pause_reading")
    parameters = list(inspect.signature(RequestHandler.resume_reading).parameters)
    assert parameters == ["self", "resume_parser"]


def test_of_an_answer_that_is_written_at_once_nothing_else_is_asked() -> None:
    """A connection prepares an answer, ends it and asks whether to stay: the rest of a response is never made."""
    source = inspect.getsource(RequestHandler)
    asked = set(re.findall(r"\bresp\.(\w+)", source)) | set(re.findall(r"getattr\(resp, \"(\w+)\"", source))
    assert asked == {"prepare", "write_eof", "keep_alive", "force_close", "__http_exception__"}
    assert not hasattr(StreamResponse, "__del__")
    assert getattr(answer(200, b"{}"), "__http_exception__", False) is False


def test_a_request_is_current_while_it_is_answered_and_no_longer() -> None:
    """What comes meanwhile begins no head's time, and is not the way of a client that waits for its answers."""
    source = inspect.getsource(RequestHandler._handle_request)  # noqa: SLF001
    way = r"self\._current_request = request\n\s+resp = await request_handler\(request\)\n\s+finally:\n"
    assert re.search(way + r"\s+self\._current_request = None\n", source)
    assert "self._messages.append((msg, payload))" in inspect.getsource(RequestHandler.data_received)
