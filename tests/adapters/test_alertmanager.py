"""Alertmanager's API: against scripted nonsense, and against the real ones, old and new."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
import requests
import responses
import yaml

from remediator.adapters import alertmanager
from remediator.adapters.alertmanager import AlertmanagerPeers
from remediator.core.reconcile import SETTLED
from tests.components import missing
from tests.waiting import eventually

URL = "http://alertmanager.test:9093"
STATUS, ALERTS, GROUPS = (f"{URL}/api/v2/{name}" for name in ("status", "alerts", "alerts/groups"))
LISTED = {
    "fingerprint": "c0ffee0123456789",
    "labels": {"alertname": "HiveDown", "namespace": "n", "deployment": "d"},
    "annotations": {},
    "startsAt": "2026-03-02T11:59:00.123Z",
    "endsAt": "2026-03-02T12:05:00.123Z",
    "updatedAt": "2026-03-02T12:00:00.123Z",
    "receivers": [{"name": "remediator"}],
    "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
}


@pytest.fixture
def web():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.get(STATUS, json={"uptime": "2026-03-02T11:00:00Z"})
        yield mock


def look(url=URL):
    (one,) = AlertmanagerPeers([url]).look()
    return one


def test_what_it_lists(web):
    web.get(ALERTS, json=[LISTED])
    seen = look()
    (listed,) = seen.listed
    assert (seen.name, seen.trouble, seen.up_since.hour) == (URL, None, 11)
    assert (listed.active, listed.receivers) == (True, frozenset({"remediator"}))
    assert (listed.alert.name, listed.alert.firing, listed.alert.ends_at) == ("HiveDown", True, None)


def test_an_alert_that_a_notification_would_refuse_is_left_out(web):
    web.get(ALERTS, json=[{**LISTED, "labels": {"alertname": "x\x00"}}, LISTED])
    assert len(look().listed) == 1


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        ({"json": {}}, "alerts are not a list"),
        ({"json": [{}]}, "an alert without status or receivers"),
        ({"json": ["x"]}, "an alert without status or receivers"),
        ({"body": "<html>"}, "not JSON"),
        ({"body": "[" * 100_000}, "not JSON"),
        ({"status": 302, "headers": {"Location": "/x"}}, "HTTP 302"),
        ({"status": 503}, "HTTP 503"),
        ({"body": requests.ConnectTimeout("no")}, "ConnectTimeout"),
    ],
)
def test_silence_and_nonsense_are_a_trouble_and_list_nothing(web, answer, trouble):
    web.get(ALERTS, **answer)
    seen = look()
    assert (seen.trouble, seen.listed) == (f"{URL}: {trouble}", ())


def test_an_answer_without_end_is_cut(web, monkeypatch):
    monkeypatch.setattr(alertmanager, "LARGEST_ANSWER", 1000)
    web.get(ALERTS, body=b" " * 1001)
    assert look().trouble == f"{URL}: too long an answer"


@pytest.mark.parametrize("status", [{}, [], {"uptime": 7}, {"uptime": "2026-03-02T11:00:00"}])
def test_since_when_it_is_up_may_be_unknown(web, status):
    web.replace("GET", STATUS, json=status)
    web.get(ALERTS, json=[])
    assert (look().trouble, look().up_since) == (None, None)


def test_a_password_in_the_url_is_not_told(web):
    web.get(ALERTS, status=500)
    assert look("http://ada:secret@alertmanager.test:9093").name == URL


def groups(**state):
    return [{"alerts": [{**LISTED, "status": {"state": "active", **state}}], "receiver": {}, "labels": {}}]


INTERVALS = {"config": {"original": "route:\n  mute_time_intervals:\n  - freeze\n"}}
PLAIN = {"config": {"original": "route:\n  receiver: x\n"}}


@pytest.mark.parametrize(
    ("answer", "status", "passes"),
    [
        (groups(mutedBy=[]), INTERVALS, True),
        (groups(mutedBy=["freeze"]), INTERVALS, False),
        (groups(), INTERVALS, False),
        (groups(), PLAIN, True),
        (groups(), {}, False),
        (groups(), [], False),
        (groups(mutedBy=[], state="suppressed"), PLAIN, False),
        ([], PLAIN, False),
        ({}, PLAIN, False),
        (["group"], PLAIN, False),
        ([{"alerts": None}], PLAIN, False),
        ([{"alerts": [{"status": None}]}], PLAIN, False),
        ([{"alerts": [{"status": ["mutedBy"]}]}], PLAIN, False),
    ],
    ids=[
        *("new", "new and muted", "old", "old without", "old unread", "odd", "silenced", "none", "nonsense"),
        *("no group", "no alerts", "no status", "odd status"),
    ],
)
def test_what_the_route_lets_pass(web, answer, status, passes):
    web.replace("GET", STATUS, json=status)
    web.get(GROUPS, json=answer)
    assert bool(AlertmanagerPeers([URL]).sendable("remediator")) is passes


def test_who_does_not_answer_lets_nothing_pass(web):
    web.get(GROUPS, body=requests.ConnectionError())
    assert AlertmanagerPeers([URL]).sendable("remediator") == frozenset()


# The real ones


CONFIG = """
route:
  receiver: on-call
  group_by: [alertname]
  group_wait: 100ms
  routes:
    - {receiver: remediator, matchers: ['remediation="auto"'], continue: true}
receivers: [{name: remediator}, {name: on-call}]
inhibit_rules:
  - source_matchers: ['alertname="Cause"']
    target_matchers: ['alertname="Effect"']
time_intervals:
  - name: always
    time_intervals: [{years: ['2020:2100']}]
"""


def programs():
    places = [None, *filter(None, os.environ.get("REMEDIATOR_PROM_PATHS", "").split(os.pathsep))]
    names = ("prometheus-alertmanager", "alertmanager")
    found = [shutil.which(name, path=place) for place in places for name in names]
    return sorted({os.path.realpath(program) for program in found if program})


class Real:
    """One Alertmanager of our own."""

    def __init__(self, program, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{self.address}"
        self._program, self._folder = program, folder
        self.process: subprocess.Popen[bytes]

    def start(self, *, muted=False):
        config = yaml.safe_load(CONFIG)
        if muted:
            config["route"]["routes"][0]["mute_time_intervals"] = ["always"]
        (self._folder / "am.yml").write_text(yaml.safe_dump(config))
        self.process = subprocess.Popen(
            [
                self._program,
                f"--config.file={self._folder / 'am.yml'}",
                f"--storage.path={self._folder / 'data'}",
                f"--web.listen-address={self.address}",
                "--cluster.listen-address=",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self.ready)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def ready(self):
        try:
            return requests.get(f"{self.url}/-/ready", timeout=2).ok
        except requests.ConnectionError:
            return False

    def post(self, path, body):
        requests.post(f"{self.url}/api/v2/{path}", json=body, timeout=5).raise_for_status()

    def fires(self, *names):
        at = datetime.now(UTC).isoformat()
        labels = [{"alertname": name, "remediation": "auto"} for name in names]
        self.post("alerts", [{"labels": one, "startsAt": at} for one in labels])

    def silence(self, name):
        now = datetime.now(UTC)
        matcher = {"name": "alertname", "value": name, "isRegex": False, "isEqual": True}
        times = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat()}
        self.post("silences", {"matchers": [matcher], **times, "createdBy": "ada", "comment": "known"})


@pytest.fixture(scope="module", params=programs() or ["none"])
def real(request, tmp_path_factory):
    if request.param == "none":
        missing("there is no alertmanager")
    running = Real(request.param, tmp_path_factory.mktemp("alertmanager"))
    running.start()
    yield running
    running.stop()


def names(listed):
    return {one.alert.name: one.active for one in listed}


@pytest.mark.real
def test_a_real_one_tells_active_from_silenced_and_inhibited_and_forgets_in_a_restart(real):
    peers = AlertmanagerPeers([real.url])
    real.silence("Known")
    real.fires("Cause", "Effect", "Known", "Watchdog")
    wanted = {"Cause": True, "Effect": False, "Known": False, "Watchdog": True}
    eventually(lambda: names(peers.look()[0].listed) == wanted)
    (seen,) = peers.look()
    assert seen.trouble is None
    assert all("remediator" in one.receivers for one in seen.listed)
    passing = {one.alert.fingerprint for one in seen.listed if one.active}
    eventually(lambda: peers.sendable("remediator") == passing)
    assert peers.sendable("somebody-else") == frozenset()
    assert seen.sound(datetime.now(UTC), every=timedelta()), "the Watchdog is there"

    real.stop()
    assert peers.look()[0].trouble == f"{real.url}: ConnectionError"
    real.start(muted=True)
    (seen,) = peers.look()
    assert seen.listed == ()
    assert not seen.sound(datetime.now(UTC), every=timedelta()), "just restarted, it knows of nothing yet"
    assert seen.sound(datetime.now(UTC) + SETTLED, every=timedelta())

    real.fires("Cause")  # an old one cannot say that it is muted; a new one does, when the group waited
    eventually(lambda: requests.get(f"{real.url}/api/v2/alerts/groups", timeout=5).json())
    assert names(peers.look()[0].listed) == {"Cause": True}
    eventually(lambda: peers.sendable("remediator") == frozenset())
