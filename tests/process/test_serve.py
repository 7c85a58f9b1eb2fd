"""`remediator serve` as a process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from structlog.testing import capture_logs

from remediator.core.reasons import Reason
from remediator.lab.cluster import LabCluster
from remediator.settings import read_settings
from remediator.wiring import open_journal
from tests.builders import NOW, a_body, an_admission, an_alert_body, labels_for
from tests.process.conftest import TOKEN, deploy
from tests.waiting import eventually


def a_notification(**labels):
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
    return a_body(an_alert_body(labels={**labels_for(), **labels}, startsAt=started))


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ([], "no token configured: set REMEDIATOR_TOKEN_FILE to a file with a bearer token"),
        (["--insecure", "--listen", "0.0.0.0:0"], "--insecure serves on loopback only, not on 0.0.0.0:0"),
        (["--token-file", "nowhere"], "nowhere"),
        (["--token-file", "empty"], "the token file empty is empty"),
        (["--token-file", "token", "--policy", "nowhere.yaml"], "nowhere.yaml"),
        (["--token-file", "token", "--policy", "bad.yaml"], "bad.yaml: line 1"),
        (["--token-file", "token", "--policy", "latin.yaml"], "latin.yaml: line 1: not UTF-8"),
        (["--token-file", "token", "--kubeconfig", "nowhere"], "REMEDIATOR_KUBECONFIG takes a kubeconfig"),
        (["--token-file", "token", "--database", "what"], "--database='what': it takes sqlite:///FILE"),
        (["--token-file", "token", "--listen", "all"], "--listen='all': it takes HOST:PORT"),
        (["--token-file", "token", "--database", "postgresql://127.0.0.1:1/x"], "refused"),
    ],
)
def test_it_does_not_start_when_it_could_not_work_and_says_what_to_do(cli, home, monkeypatch, args, why):
    monkeypatch.setattr("remediator.cli.running.configure_logs", lambda _: None)  # it would outlive this test
    (home / "empty").write_text(" \n")
    (home / "bad.yaml").write_text("version: 9\n")
    (home / "latin.yaml").write_bytes(b"version: 1 # \xe4\n")

    ran = cli("serve", "--kubeconfig", "kubeconfig", *args)

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("Error: ")
    assert why in ran.err


def test_a_program_that_does_not_start_has_one_line_and_status_1(home):
    command = [sys.executable, "-m", "remediator", "serve"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("Error: no token configured")


def test_it_imports_nothing_of_weight_that_it_does_not_need():
    """Each of these takes 2 MiB and more."""
    needless = {"rich", "alembic", "sqlalchemy.orm", "sqlalchemy.dialects.postgresql", "psycopg"}
    told = "import sys, remediator.cli.running, remediator.serve; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert needless & set(run.stdout.split()) == set()


def test_without_a_token_it_serves_on_loopback_when_told_so(serve):
    served = serve(REMEDIATOR_TOKEN_FILE="", REMEDIATOR_INSECURE="true")

    answer = requests.post(f"{served.url}/webhook", json=a_notification(), timeout=5)

    assert answer.status_code == 202


def test_it_serves_logs_json_and_ends_in_time(serve, home):
    served = serve()
    assert requests.get(f"{served.url}/healthz", timeout=5).json() == {"status": "ok"}
    trouble = served.ask("/readyz?verbose").json()["trouble"]
    assert "ConnectionError" in trouble["prometheus"]
    assert served.ask("/webhook", a_notification()).status_code == 202
    assert served.ask("/webhook", a_notification(), headers={"Authorization": "no"}).status_code == 401
    assert served.ask("/webhook", b"no").status_code == 400
    assert served.ask("/webhook", b" " * 17_000_000).status_code == 413
    assert served.ask("/webhook/", a_notification()).status_code == 202
    assert served.ask("//webhook", a_notification()).status_code == 202
    held = eventually(lambda: served.ask("/api/v1/incidents/1").json()["events"][1:], "the decision")
    assert (held[0]["kind"], held[0]["reason"]) == ("held", "prometheus_unreachable")

    began = time.monotonic()
    assert served.terminate() == 0

    assert time.monotonic() - began < 10
    ready = served.said("ready")
    assert (ready[0]["level"], ready[0]["part"]) == ("info", "serve")
    assert ready[0]["timestamp"].endswith("Z")
    assert len(served.said("notification received")) == 3
    (opened,), (said,) = served.said("opened"), served.said("held")
    told = {"part": "timeline", "incident": 1, "target": "bizra-testnet/bizra-apex", "level": "info"}
    assert opened.items() >= {**told, "reason": "incident_opened"}.items()
    assert said.items() >= {**told, "reason": "prometheus_unreachable", "detail": held[0]["detail"]}.items()
    assert TOKEN not in served.log.read_text()


def test_headers_beyond_reason_are_refused_by_the_server(serve):
    served = serve()

    answer = served.ask("/webhook", a_notification(), headers={"X-Filler": "x" * 100_000})

    assert 400 <= answer.status_code < 500
    assert served.ask("/webhook", a_notification()).status_code == 202


def test_a_policy_is_reloaded_while_running_and_a_bad_one_changes_nothing(serve, home):
    served = serve()
    policy = home / "policy.yaml"
    good = policy.read_text()
    first = served.said("ready")[0]["policy"]

    policy.write_text(good.replace("mode: auto", "mode: observe"))
    second = eventually(lambda: served.said("policy reloaded"), "a reload")[0]["digest"]
    assert second != first
    assert f'remediator_policy_info{{digest="{second}"}} 1.0' in served.ask("/metrics").text

    policy.write_text("version: 1\nmoed: auto\n")
    eventually(lambda: served.metric("policy_rejected") == 1, "the metric")
    (complaint,) = served.said("policy not reloaded, the old one stays")
    assert (complaint["level"], complaint["kept"]) == ("error", second)
    assert "line 2" in complaint["error"]
    assert f'remediator_policy_info{{digest="{second}"}} 1.0' in served.ask("/metrics").text
    assert (
        served.ask("/webhook?explain=1", a_notification()).json()["alerts"][0]["reason"] == "incident_opened"
    )

    policy.write_text(good)
    eventually(lambda: served.metric("policy_rejected") == 0, "the metric")
    assert f'remediator_policy_info{{digest="{first}"}} 1.0' in served.ask("/metrics").text


def test_a_policy_file_that_vanishes_and_comes_back_unchanged_is_in_force_again(serve, home):
    served = serve()
    policy, aside = home / "policy.yaml", home / "aside.yaml"

    policy.rename(aside)
    eventually(lambda: served.metric("policy_rejected") == 1, "the metric")
    aside.rename(policy)

    eventually(lambda: served.metric("policy_rejected") == 0, "the metric")


def test_processes_share_one_journal_and_fifty_at_once_are_one_incident_and_one_action(
    serve, home, prometheus
):
    with LabCluster(speed=50) as cluster:
        deploy(cluster)
        cluster.kubeconfig(home / "kubeconfig")
        cluster.forget_requests()
        served = serve(REMEDIATOR_WORKERS="3", REMEDIATOR_PROMETHEUS=prometheus.url)
        body, barrier = a_notification(), threading.Barrier(10)

        def send(number):
            if number < 10:
                barrier.wait(10)
            return served.ask("/webhook", body).status_code

        with ThreadPoolExecutor(10) as senders:
            codes = list(senders.map(send, range(50)))

        assert codes == [202] * 50
        assert len(served.ask("/api/v1/incidents").json()["incidents"]) == 1
        assert served.metric("notifications_total") == 50
        eventually(
            lambda: served.ask("/api/v1/incidents/1").json()["phase"] in ("rolling_out", "verifying"),
            "the action",
        )
        assert served.terminate() == 0

        assert len({line["listen"] for line in served.said("ready")}) == 1
        assert len(served.said("ready")) == 3
        sent = [one for one in cluster.requests(mutating=True) if one["user_agent"].startswith("remediator")]
        changes = [one for one in sent if "dryRun" not in str(one) and "/events" not in one["path"]]
        assert [one["method"] for one in changes] == ["PATCH"]


def test_what_was_accepted_before_a_kill_9_is_dealt_with_after_a_restart(serve):
    first = serve(REMEDIATOR_IDLE="1m", REMEDIATOR_LEASE="1s")
    assert first.ask("/webhook", a_notification()).status_code == 202
    children = f"/proc/{first.process.pid}/task/{first.process.pid}/children"
    workers = [int(pid) for pid in Path(children).read_text().split()]
    first.process.kill()
    first.process.wait()
    for pid in workers:
        os.kill(pid, 9)

    second = serve()

    story = eventually(
        lambda: len((told := second.ask("/api/v1/incidents/1").json())["events"]) > 1 and told, "the decision"
    )
    assert [event["kind"] for event in story["events"]] == ["opened", "held"]
    assert second.metric("notifications_total") == 1


def test_the_log_tells_every_timeline_once_and_louder_where_a_person_is_needed(home):
    journal = open_journal(read_settings())
    with capture_logs() as logged, journal.transaction() as tx:
        number = tx.create_incident(an_admission(), now=NOW)
        tx.append(number, "opened", Reason.INCIDENT_OPENED, "so it began", now=NOW)
        tx.append(number, "joined", Reason.INCIDENT_JOINED, "in the notification's own line", now=NOW)
        tx.append(number, "escalated", Reason.STEPS_EXHAUSTED, "nothing helped", now=NOW)
    journal.close()

    assert [(one["event"], one["log_level"], one["detail"]) for one in logged] == [
        ("opened", "info", "so it began"),
        ("escalated", "warning", "nothing helped"),
    ]
    assert {(one["incident"], one["target"]) for one in logged} == {(number, "bizra-testnet/bizra-apex")}
