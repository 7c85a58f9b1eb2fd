"""What takes turns is told, but not every time."""

from datetime import timedelta

import pytest

from remediator.core.telling import TOLD_FOR, retold
from tests.builders import NOW

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("last", "added"),
    [
        pytest.param(None, "", id="never"),
        pytest.param(NOW, None, id="just now"),
        pytest.param(NOW - TOLD_FOR + SECOND, None, id="less than an hour ago"),
        pytest.param(NOW - TOLD_FOR, f"{NOW - TOLD_FOR:%Y-%m-%d %H:%M:%S}", id="an hour ago"),
        pytest.param(NOW + SECOND, None, id="a clock set back a little"),
        pytest.param(NOW + TOLD_FOR, f"{NOW + TOLD_FOR:%Y-%m-%d %H:%M:%S}", id="a clock set back far"),
    ],
)
def test_a_hold_is_told_when_it_was_not_told_within_the_hour(last, added):
    expected = f"; told at {added} UTC too: what takes turns is told once an hour" if added else added
    assert retold(last, now=NOW) == expected
