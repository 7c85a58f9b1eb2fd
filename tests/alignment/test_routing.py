"""The route tree, as Alertmanager walks it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from remediator.alignment.located import Mistake
from remediator.alignment.routing import BadMatcher, Matcher, Routing, read_matchers, read_routing
from tests.components import missing


def routing(tmp_path: Path, route: dict[str, Any], **more) -> Routing:
    file = tmp_path / "alertmanager.yml"
    receivers = [{"name": name} for name in "abcdef"]
    file.write_text(yaml.safe_dump({"route": route, "receivers": receivers, **more}))
    read = read_routing(file)
    assert isinstance(read, Routing), read
    return read


def receivers(read: Routing, **labels: str) -> list[str]:
    return [route.receiver for route in read.root.reached(labels)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('a="b"', [("a", "=", "b")]),
        ("a=b", [("a", "=", "b")]),
        (' a =~ "b|c" ', [("a", "=~", "b|c")]),
        ('a!="b"', [("a", "!=", "b")]),
        ("a!~b.*", [("a", "!~", "b.*")]),
        ('{a="b",c!="d"}', [("a", "=", "b"), ("c", "!=", "d")]),
        ('a="b,c",d="e"', [("a", "=", "b,c"), ("d", "=", "e")]),
        (r'a="say \"x\", y"', [("a", "=", 'say "x", y')]),
        ('"a b"="c"', [("a b", "=", "c")]),
        ('a=""', [("a", "=", "")]),
    ],
)
def test_matchers_are_read_in_every_way_of_writing(line, expected):
    assert read_matchers(line) == [Matcher(*one) for one in expected]


@pytest.mark.parametrize("line", ["a", "a b", '="b"', "{a}"])
def test_what_is_no_matcher_is_refused(line):
    with pytest.raises(BadMatcher, match="is no matcher"):
        read_matchers(line)


def test_a_regular_expression_has_to_match_the_whole_value():
    matcher = Matcher("a", "=~", "b|c")

    assert matcher.matches({"a": "c"})
    assert not matcher.matches({"a": "cc"})


def test_a_label_that_is_not_there_is_empty():
    assert Matcher("a", "=", "").matches({})
    assert Matcher("a", "!=", "b").matches({})
    assert not Matcher("a", "=~", ".+").matches({})


def test_a_route_inherits_receiver_and_grouping(tmp_path):
    below = {"matchers": ["x=1"], "routes": [{"group_by": ["n"], "matchers": ["y=1"]}, {"group_by": []}]}
    read = routing(tmp_path, {"receiver": "a", "group_by": ["m"], "routes": [below]})

    assert receivers(read, x="1", y="1") == ["a"]
    assert read.root.reached({"x": "1", "y": "1"})[0].group_by == {"n"}
    assert read.root.reached({"x": "1"})[0].group_by == {"m"}


def test_the_default_receiver_is_skipped_once_a_child_matched_and_continue_goes_on(tmp_path):
    routes = [
        {"receiver": "b", "matchers": ["x=1"], "continue": True},
        {"receiver": "c", "match": {"y": "1"}},
        {"receiver": "d", "match_re": {"y": "1|2"}},
    ]
    read = routing(tmp_path, {"receiver": "a", "routes": routes})

    assert receivers(read) == ["a"]
    assert receivers(read, x="1") == ["b"]
    assert receivers(read, x="1", y="1") == ["b", "c"]
    assert receivers(read, x="1", y="2") == ["b", "d"]


def candidates() -> list[str | None]:
    paths = [*os.environ.get("REMEDIATOR_PROM_PATHS", "").split(os.pathsep), *os.get_exec_path()]
    found = {
        str(Path(one).resolve()) for path in paths if path and (one := shutil.which("amtool", path=path))
    }
    return [*sorted(found)] or [None]


@pytest.mark.real
@pytest.mark.parametrize("amtool", candidates())
def test_any_tree_is_walked_as_amtool_walks_it(tmp_path, amtool):
    if amtool is None:
        missing("no amtool")
    chance = random.Random(7)
    for _ in range(25):
        read = routing(tmp_path, a_route(chance, 3) | {"receiver": "a", "matchers": [], "continue": False})
        labels = {name: chance.choice("12") for name in "xyz" if chance.random() < 0.7}
        config = f"--config.file={tmp_path / 'alertmanager.yml'}"
        command = [amtool, "config", "routes", "test", config, *(f"{k}={v}" for k, v in labels.items())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)

        assert receivers(read, **labels) == done.stdout.strip().split(","), yaml.safe_dump(labels)


def a_route(chance: random.Random, depth: int) -> dict[str, Any]:
    matchers = [
        chance.choice("xyz")
        + chance.choice(["=", "!=", "=~", "!~"])
        + chance.choice(["1", '"2"', '""', '"1|2"'])
        for _ in range(chance.randint(0, 2))
    ]
    below = [a_route(chance, depth - 1) for _ in range(chance.randint(0, 3))] if depth else []
    route = {"matchers": matchers, "continue": chance.random() < 0.5, "routes": below}
    return route | ({"receiver": chance.choice("abcdef")} if chance.random() < 0.7 else {})


def test_what_cannot_be_read_is_a_mistake_with_a_line(tmp_path):
    file = tmp_path / "alertmanager.yml"
    file.write_text("receivers: []\nroute:\n  receiver: a\n  routes:\n    - [1]\n")

    assert read_routing(file) == [
        Mistake(
            file=str(file),
            line=5,
            path="route.routes[0]",
            message="write a route as a mapping with receiver and matchers",
        )
    ]
