"""A fresh world for each story; at the end every timeline's hash chain has to hold."""

import pytest

from tests.worlds import Drama


@pytest.fixture
def drama(tmp_path):
    played = Drama(tmp_path)
    yield played
    played.close()
