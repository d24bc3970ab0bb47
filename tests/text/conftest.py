"""The server that the tests of embedding over HTTP talk to."""

import pytest
from extras import need
from text_server import KEY, Server


@pytest.fixture
def server(monkeypatch):
    """A running server; its key is in the environment."""
    need("openai")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Server()
    yield running
    running.close()
