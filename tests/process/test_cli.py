"""The command line: what each command says, in a pipe and on a terminal, and how it fails."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from werkzeug.serving import make_server

from remediator.cli import main
from remediator.core.facts import PodSeen
from remediator.core.guardrails import GUARDRAILS
from remediator.core.incidents import BREAKER, Phase
from remediator.core.intake import OPENS
from remediator.core.policy import Mode
from remediator.core.seen import Ending, EventSeen, LogSeen
from remediator.policy_schema import json_schema
from tests.builders import a_policy, an_alert
from tests.process.conftest import NOBODY, ROOT, TOKEN
from tests.web.conftest import House
from tests.worlds import Drama

PAYLOADS = sorted((ROOT / "tests/payloads").glob("*.json"))
GUARDRAIL_NAMES = [name for name, _ in GUARDRAILS]
COMMANDS = sorted(main.commands)
JOURNALED = ["incidents", "pause", "resume", "approve", "reject", "acknowledge", "replay"]


@pytest.fixture
def drama(home):
    """The journal that the commands find in the folder, and a world to fill it."""
    played = Drama(home)
    yield played
    played.close()


@pytest.fixture
def on(drama, home, monkeypatch):
    monkeypatch.setenv("REMEDIATOR_DATABASE", f"sqlite:///{home}/journal.db")
    return drama


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_an_example(cli, command):
    ran = cli(command, "--help")

    assert ran.code == 0
    assert re.search(r"(?i)examples?:", ran.out)
    assert f"remediator {command}" in ran.out.split("xample", 1)[1]


def test_the_first_help_shows_the_commands_and_examples(cli):
    ran = cli("--help")

    assert ran.code == 0
    assert all(command in ran.out for command in COMMANDS)
    assert "remediator demo" in ran.out


def test_the_version_is_told(cli):
    assert re.fullmatch(r".*\d+\.\d+\.\d+\n", cli("--version").out)


# check


def test_check_of_a_sound_policy_tells_what_it_holds(cli):
    ran = cli("check")

    assert ran.code == 0
    assert ran.json["mistakes"] == []
    assert ran.json["targets"] == ["bizra-testnet/bizra-apex"]
    assert ran.json["playbooks"] == 4
    shown = cli("check", tty=True)
    assert (shown.code, shown.out) == (0, "policy.yaml is sound: 1 target, 4 playbooks, mode auto\n")


def test_check_names_every_mistake_by_file_and_line(cli, home):
    (home / "bad.yaml").write_text(
        (home / "policy.yaml").read_text() + "  - alert: A\n    stepps: []\nmore: 1\n"
    )
    lines = (home / "bad.yaml").read_text().splitlines()

    ran = cli("check", "--policy", "bad.yaml", tty=True)

    assert ran.code == 1
    named = {int(number) for number in re.findall(r"^bad\.yaml:(\d+): ", ran.out, re.MULTILINE)}
    assert {lines[number - 1].strip() for number in named} >= {"stepps: []", "more: 1"}
    piped = cli("check", "--policy", "bad.yaml")
    assert piped.code == 1
    assert len(piped.json["mistakes"]) == len(ran.out.splitlines())
    assert {mistake["line"] for mistake in piped.json["mistakes"]} == named
    assert {mistake["file"] for mistake in piped.json["mistakes"]} == {"bad.yaml"}


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "empty"),
        (b"a: [", "bad.yaml:1: "),
        (b"\xff", "not UTF-8"),
        (b"- 1\n", "bad.yaml:1: "),
        (b"&a [*a]", ""),
    ],
)
def test_check_of_what_is_no_policy_says_so(cli, home, raw, why):
    (home / "bad.yaml").write_bytes(raw)

    ran = cli("check", "--policy", "bad.yaml", tty=True)

    assert ran.code == 1
    assert re.match(r"bad\.yaml:\d+: ", ran.out)
    assert why in ran.out


def test_check_of_no_file_is_one_clear_message(cli):
    ran = cli("check", "--policy", "nowhere.yaml")

    assert ran.code == 1
    assert "nowhere.yaml" in ran.err
    assert ran.out == ""


def test_check_prints_the_schema_for_editors(cli):
    assert cli("check", "--schema").json == json_schema()


# explain


def check_explained(alerts, expected):
    for alert in alerts:
        assert alert["sentence"]
        asked = alert["reason"] in OPENS
        decided = expected if asked else ("ignore", alert["reason"])
        assert (alert["decision"], alert["decision_reason"]) == decided
        assert [verdict["guardrail"] for verdict in alert["guardrails"]] == GUARDRAIL_NAMES
        for verdict in alert["guardrails"]:
            assert verdict["passes"] or verdict["reason"] if asked else verdict["detail"] == "not asked"


def check_shown(shown, alerts):
    for alert in alerts:
        assert alert["alert"] in shown
        assert alert["reason"] in shown
        assert alert["decision_sentence"] in shown
        assert all(
            re.search(rf"^\s*{name}\s+(passes|\w+|-)", shown, re.MULTILINE) for name in GUARDRAIL_NAMES
        )


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda path: path.stem)
@pytest.mark.parametrize("reachable", [True, False], ids=["prometheus", "no-prometheus"])
def test_explain_names_the_decision_and_every_guardrails_verdict(  # noqa: PLR0917 - fixtures
    cli, home, cluster, prometheus, payload, reachable
):
    where = ["--prometheus", prometheus.url if reachable else NOBODY, "--kubeconfig", "kubeconfig"]
    cluster.forget_requests()
    ran = cli("explain", payload, *where)
    if payload.stem == "not-v4":
        assert ran.code == 1
        assert 'Error: "version" is \'3\', not "4"' in ran.err
        return
    body = json.loads(payload.read_text())

    assert ran.code == 0
    answer = ran.json
    assert len(answer["alerts"]) + len(answer["refused"]) == len(body["alerts"])
    assert all(refused["reason"] and refused["detail"] for refused in answer["refused"])
    expected = ("act", "step_applies") if reachable else ("hold", "prometheus_unreachable")
    check_explained(answer["alerts"], expected)
    if reachable:  # and once for people; the same values
        shown = cli("explain", payload, *where, tty=True)
        assert shown.code == 0
        check_shown(shown.out, answer["alerts"])
    assert cluster.requests(mutating=True) == []
    assert "no journal yet" in ran.err
    assert not list(home.glob("*.db*")), "nothing is written"


def test_explain_goes_by_the_journal_that_there_is(cli, on, prometheus):
    on.journal.migrate()
    assert cli("pause", "--why", "I look into it").code == 0

    firing = ROOT / "tests/payloads/firing.json"
    ran = cli("explain", firing, "--prometheus", prometheus.url, "--kubeconfig", "kubeconfig")

    assert "no journal yet" not in ran.err
    check_explained(ran.json["alerts"], ("hold", "paused"))
    assert (on.journal.incidents(), on.journal.counters()) == ([], {})


def test_explain_without_an_api_server_is_a_hold(cli, home, prometheus):
    text = (home / "kubeconfig").read_text()
    (home / "kubeconfig").write_text(re.sub(r"http://127\.0\.0\.1:\d+", NOBODY, text))

    ran = cli("explain", PAYLOADS[0], "--prometheus", prometheus.url, "--kubeconfig", "kubeconfig")

    assert ran.code == 0
    check_explained(ran.json["alerts"], ("hold", "cluster_unreachable"))


def test_explain_names_the_verb_that_is_missing_as_a_running_process_does(cli, cluster, prometheus):
    cluster.deny({"verb": "patch", "resource": "deployments", "subresource": ""})
    try:
        where = ["--prometheus", prometheus.url, "--kubeconfig", "kubeconfig"]
        ran = cli("explain", ROOT / "tests/payloads/firing.json", *where)
    finally:
        cluster.deny()

    steps = [step for alert in ran.json["alerts"] for step in alert["steps"]]
    assert [step["reason"] for step in steps if step["action"] == "rolling restart"] == ["forbidden"]
    assert "we lack patch deployments (apps)" in str(steps)


def test_explain_reads_standard_input(cli, prometheus):
    raw = (ROOT / "tests/payloads/firing.json").read_bytes()

    ran = cli("explain", "-", "--prometheus", prometheus.url, "--kubeconfig", "kubeconfig", stdin=raw)

    assert ran.json["alerts"][0]["decision"] == "act"


def test_explain_obeys_no_control_characters_of_a_label(cli, home):
    body = json.loads((ROOT / "tests/payloads/firing.json").read_text())
    body["alerts"][0]["labels"]["alertname"] = "Evil\x1b]0;owned\x07\x1b[2J[red]"
    (home / "evil.json").write_text(json.dumps(body))

    ran = cli("explain", "evil.json", "--kubeconfig", "kubeconfig", tty=True)

    assert "\x1b" not in ran.out
    assert "\x07" not in ran.out
    assert "Evil\\x1b]0;owned\\x07\\x1b[2J[red]" in ran.out


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--policy", "nowhere.yaml", "--kubeconfig", "kubeconfig"], "nowhere.yaml"),
        (
            ["--policy", "bad.yaml", "--kubeconfig", "kubeconfig"],
            "the policy has mistakes:\nbad.yaml: line 1",
        ),
        (["--kubeconfig", "nowhere"], "cannot load nowhere"),
        (["--kubeconfig", "bad.yaml"], "cannot load bad.yaml"),
        ([], "cannot load ~/.kube/config"),
        (["--kubeconfig", "kubeconfig", "--prometheus", "prometheus:9090"], "--prometheus='prometheus:9090'"),
        (["--kubeconfig", "kubeconfig", "--database", "mysql://a/b"], "--database='mysql://a/b': it takes"),
        (["--kubeconfig", "kubeconfig", "--database", "postgresql://127.0.0.1:1/x"], "refused"),
    ],
)
def test_explain_that_cannot_work_is_one_clear_message(cli, home, args, why):
    (home / "bad.yaml").write_text("version: 9\n")

    ran = cli("explain", ROOT / "tests/payloads/firing.json", *args)

    assert ran.code == 1
    assert why in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000, b"[]"])
def test_explain_of_what_is_no_notification_is_one_clear_message(cli, raw):
    ran = cli("explain", "-", "--kubeconfig", "kubeconfig", stdin=raw)

    assert ran.code == 1
    assert ran.err.startswith("Error: ")
    assert len(ran.err) < 300


# replay


@pytest.fixture
def receiver(tmp_path):
    """The web application on a real port."""
    (tmp_path / "app").mkdir()
    house = House(tmp_path / "app")
    server = make_server("127.0.0.1", 0, house.client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    quiet = capture_logs()
    quiet.__enter__()
    thread.start()
    house.url = f"http://127.0.0.1:{server.server_port}/webhook"  # type: ignore[attr-defined]
    yield house
    server.shutdown()
    thread.join(5)
    server.server_close()
    quiet.__exit__(None, None, None)
    house.drama.close()


def test_replay_posts_a_file(cli, home, receiver):
    (home / "token").write_text(f"\n {TOKEN} \nold\n")

    ran = cli("replay", ROOT / "tests/payloads/firing.json", "--url", receiver.url, "--token-file", "token")

    assert ran.code == 0
    assert ran.err == "HTTP 202\n"
    assert ran.json["outcomes"] == {"incident_opened": 1}
    assert receiver.rows("incidents") == 1


def test_replay_posts_again_what_the_journal_received(cli, home, receiver):
    raw = (ROOT / "tests/payloads/grouped-mixed.json").read_bytes()
    number = receiver.post(raw).json["notification"]
    database = f"sqlite:///{receiver.folder}/journal.db"
    args = ["--url", receiver.url, "--token-file", "token", "--database", database]

    ran = cli("replay", "--from-journal", number, *args)

    assert ran.code == 0
    assert set(ran.json["outcomes"]) == {"no_playbook", "repeated"} or ran.json["notification"] == number
    assert receiver.rows("notifications") == 1
    assert receiver.rows("incidents") == 1
    missing = cli("replay", "--from-journal", 99, *args)
    assert (missing.code, missing.err) == (1, "Error: the journal has no notification 99\n")


def test_replay_says_what_was_answered_and_fails_with_it(cli, home, receiver):
    ran = cli("replay", ROOT / "tests/payloads/not-v4.json", "--url", receiver.url, "--token-file", "token")
    assert (ran.code, ran.err) == (1, "HTTP 400\n")

    (home / "wrong").write_text("wrong\n")
    ran = cli("replay", ROOT / "tests/payloads/firing.json", "--url", receiver.url, "--token-file", "wrong")
    assert (ran.code, ran.err) == (1, "HTTP 401\n")
    assert receiver.untouched


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        ([], 2, "give either FILE or --from-journal ID"),
        (["token", "--from-journal", "1"], 2, "give either FILE or --from-journal ID"),
        (["nowhere.json"], 2, "nowhere.json"),
        (["--from-journal", "9" * 30], 2, "not in the range"),
        (["token", "--url", f"{NOBODY}/webhook"], 1, "ConnectionError; is `remediator serve` running?"),
        (["token", "--url", "what"], 1, "MissingSchema"),
        (["token", "--token-file", "nowhere"], 1, "nowhere"),
        (["token", "--token-file", "empty"], 1, "the token file empty is empty"),
    ],
)
def test_replay_that_cannot_work_is_one_clear_message(cli, home, args, code, why):
    (home / "empty").write_text("\n")

    ran = cli("replay", *args)

    assert (ran.code, ran.out) == (code, "")
    assert why in ran.err


# incidents


def test_no_incidents_are_said(cli, on):
    assert cli("incidents").json == {"holds": [], "incidents": []}
    assert cli("incidents", tty=True).out == "no incidents\n"


def test_what_holds_the_machine_is_said_before_the_incidents(cli, on):
    now = datetime.now(UTC).replace(microsecond=0)
    cli("pause", "--why", "[red]mine", "--by", "ada", "--namespace", "bizra-testnet", "--for", "2h")
    with on.journal.transaction() as tx:
        tx.engage_pause(scope="all", by=BREAKER, why="3 actions did not help", until=None, now=now)
        tx.begin_storm("3 targets alert", now=now)

    holds = cli("incidents", "--open").json["holds"]
    shown = cli("incidents", "--open", tty=True).out

    assert [(one["hold"], one["by"], one["why"], one["ended_by"]) for one in holds] == [
        ("pause", "ada", "[red]mine", "remediator resume --namespace bizra-testnet"),
        ("breaker", BREAKER, "3 actions did not help", "remediator resume --breaker"),
        ("storm", None, "3 targets alert", "remediator acknowledge --storm"),
    ]
    since = f"since {now:%Y-%m-%d %H:%M:%S} UTC"
    assert re.search(
        r"^paused: namespace:bizra-testnet by ada since .* until .* UTC: \[red\]mine$", shown, re.MULTILINE
    )
    assert (
        f"the breaker is open {since}: 3 actions did not help\n  ends by: remediator resume --breaker\n"
        in shown
    )
    assert f"storm: every incident is held {since}: 3 targets alert\n" in shown
    assert shown.endswith("no incidents\n")


def test_incidents_are_listed(cli, on):
    on.heal_on(object)
    on.receive()
    on.run(hours=1)
    on.receive(an_alert(starts_at=on.now))

    def listed(*args):
        return [(one["id"], one["phase"]) for one in cli("incidents", *args).json["incidents"]]

    assert listed() == [(2, "deciding"), (1, "closed")]
    assert listed("--open") == listed("--limit", 1) == [(2, "deciding")]
    shown = cli("incidents", tty=True).out
    assert all(
        word in shown for word in ("bizra-testnet/bizra-apex", "AhsanScoreLow", "recovered", "2026-03-02")
    )
    narrow = cli("incidents", tty=True, COLUMNS="60").out
    assert "…" not in narrow, "a name that is cut off is no name"
    assert "a-apex" in narrow


def test_the_story_shows_the_evidence_of_what_was_seen(cli, on):
    ended = Ending(container="app", reason="Error", exit_code=1, at=on.now, restarts=4)
    crashing = PodSeen(name="a", ready=False, waiting=("CrashLoopBackOff",), endings=(ended,), restarts=4)
    on.cluster.change(
        pods=(crashing, PodSeen(name="b", ready=False, unschedulable="full"), PodSeen(name="c", ready=True)),
        budgets=("apex allows 0 evictions now",),
        events=(
            EventSeen(at=on.now, about="Pod/a", kind="Warning", reason="BackOff", message="again", count=5),
            EventSeen(at=None, about="Pod/b", kind="Normal", reason="Odd", message="[red]once"),
        )
        * 20,
        logs=(LogSeen(pod="a", container="app", lines=("boom",)),),
        usage=None,
        unreadable={"usage": "no pod metrics"},
    )
    on.receive()
    on.run(seconds=1)

    shown = [line.strip() for line in cli("incidents", 1, tty=True).out.splitlines()]

    evidence = shown[shown.index(next(line for line in shown if line.startswith("pod a"))) :]
    ended_at = "2026-03-02 12:00:00+00:00"
    assert evidence[:6] == [
        f"pod a is not ready: CrashLoopBackOff, app ended with 1 (Error) at {ended_at}, 4 restarts",
        "pod b is not ready: unschedulable, 0 restarts",
        "budget apex allows 0 evictions now",
        "event 12:00:00 Warning Pod/a BackOff x5: again",
        "event ? Normal Pod/b Odd: [red]once",
        "event 12:00:00 Warning Pod/a BackOff x5: again",
    ]
    assert "log a/app: boom" in evidence
    assert "not read: usage, no pod metrics" in evidence
    assert "left out: 25 more events" in evidence
    assert "unknown resource_pressure: no pod metrics" in shown
    (attempt,) = cli("incidents", 1).json["attempts"]
    assert attempt["evidence"]["observed"]["logs"] == [{"pod": "a", "container": "app", "lines": ["boom"]}]


def test_the_whole_story_of_an_incident_is_told(cli, on):
    on.heal_on(object)
    on.receive()
    on.run(hours=1)

    told = cli("incidents", 1).json
    shown = cli("incidents", 1, tty=True).out

    assert told["timeline_intact"] is True
    assert shown.startswith("incident 1: AhsanScoreLow on bizra-testnet/bizra-apex, closed\n")
    for event in told["events"]:
        clock = f"{datetime.fromisoformat(event['at']):%H:%M:%S}"
        assert re.search(rf"^{clock}  {event['kind']} +{event['reason']}: ", shown, re.MULTILINE), event
    assert "step 3 rolling restart: step_applies" in shown
    assert f"opened {datetime.fromisoformat(told['opened_at']):%Y-%m-%d %H:%M:%S} UTC" in shown
    assert told["next"] == []


def test_the_story_ends_with_what_a_person_can_do(cli, on):
    def ends():
        told, shown = cli("incidents", 1).json, cli("incidents", 1, tty=True).out
        lines = [f"{one['so']}: {one['command']}" for one in told["next"]]
        runbook = "docs/runbook.md#ahsanscorelow"
        assert told["runbook"] == runbook
        assert shown.splitlines()[-len(lines) - 1 :] == [*lines, f"What is left for a person: {runbook}"]
        return [one["command"] for one in told["next"]]

    on.policy = a_policy(mode=Mode.APPROVE)
    on.receive()
    assert ends() == ['remediator pause --target bizra-testnet/bizra-apex --why "..."']
    on.step()
    means = '--action "rolling restart"'
    assert ends() == [f"remediator approve 1 {means}", f"remediator reject 1 {means}"]
    cli("reject", 1)
    on.now = datetime.now(UTC)
    on.step()
    assert ends() == ["remediator acknowledge 1"]


@pytest.mark.parametrize(("number", "code"), [("7", 1), ("0", 2), ("9" * 30, 2), ("one", 2)])
def test_an_incident_that_is_none_is_said(cli, on, number, code):
    ran = cli("incidents", number)

    assert (ran.code, ran.out) == (code, "")
    assert "there is no incident 7" in ran.err or code == 2


# pause and resume


def test_a_pause_of_the_stateful_set_of_that_name_is_not_the_deployments(cli, on):
    ran = cli("pause", "--why", "backup", "--by", "ada", "--target", "bizra-testnet/statefulset/bizra-apex")
    scope = "target:bizra-testnet/statefulset/bizra-apex"
    assert (ran.code, ran.out) == (0, f"paused: {scope} by ada, until somebody resumes\n")
    on.now = datetime.now(UTC)
    on.receive(an_alert(starts_at=on.now))
    on.step()
    assert on.told()[-1] == ("applied", "applied")


@pytest.mark.parametrize(
    ("args", "scope"),
    [
        ([], "all"),
        (["--namespace", "bizra-testnet"], "namespace:bizra-testnet"),
        (["--target", "bizra-testnet/bizra-apex"], "target:bizra-testnet/bizra-apex"),
        (["--playbook", "AhsanScoreLow"], "playbook:AhsanScoreLow"),
    ],
)
def test_a_pause_stops_acting_until_somebody_resumes(cli, on, args, scope):
    ran = cli("pause", "--why", "migration", "--by", "ada", *args)
    assert (ran.code, ran.out) == (0, f"paused: {scope} by ada, until somebody resumes\n")
    on.now = datetime.now(UTC)
    on.receive(an_alert(starts_at=on.now))
    on.step()
    assert on.told()[-1] == ("held", "paused")

    assert cli("resume", "--by", "bob", *args).out == "resumed: 1 pause ended by bob\n"

    on.now = datetime.now(UTC)
    on.step()
    assert on.done == ["restart"]


def test_a_pause_has_an_end_when_given_one(cli, on):
    ran = cli("pause", "--why", "x", "--for", "2h")

    assert ran.code == 0
    assert re.search(r"until \d{4}-\d\d-\d\d \d\d:\d\d UTC$", ran.out)
    now = datetime.now(UTC)
    (pause,) = on.journal.pauses(now=now)
    assert pause.by
    assert now + timedelta(minutes=119) < pause.until < now + timedelta(hours=2)
    assert on.journal.pauses(now=now + timedelta(hours=2)) == []


@pytest.fixture
def four_pauses(cli, on):
    cli("pause", "--why", "a", "--by", "ada")
    cli("pause", "--why", "b", "--namespace", "one", "--by", "ada")
    cli("pause", "--why", "c", "--namespace", "two", "--by", "ada")
    with on.journal.transaction() as tx:
        tx.engage_pause(scope="all", by=BREAKER, why="no help", until=None, now=datetime.now(UTC))


@pytest.mark.parametrize(
    ("args", "still"),
    [
        ([], ["namespace:one by ada", "namespace:two by ada", "all by breaker"]),
        (["--namespace", "one"], ["all by ada", "namespace:two by ada", "all by breaker"]),
        (["--breaker"], ["all by ada", "namespace:one by ada", "namespace:two by ada"]),
    ],
    ids=["all", "namespace", "breaker"],
)
def test_resume_ends_what_the_same_words_paused_and_names_the_rest(cli, four_pauses, args, still):
    ran = cli("resume", "--by", "x", *args)
    assert ran.out == "resumed: 1 pause ended by x\n"
    assert [": ".join(line.split(": ")[1:2]) for line in ran.err.splitlines()] == still
    assert cli("resume", "--by", "x", *args).out == "resumed: 0 pauses ended by x\n"


def test_what_is_still_paused_says_what_ends_it(cli, four_pauses):
    assert cli("resume", "--by", "x").err.splitlines() == [
        "still paused: namespace:one by ada: b (ends by: remediator resume --namespace one)",
        "still paused: namespace:two by ada: c (ends by: remediator resume --namespace two)",
        "still paused: all by breaker: no help (ends by: remediator resume --breaker)",
    ]


def test_resume_ends_everything_when_that_is_said(cli, four_pauses):
    ran = cli("resume", "--everything", "--by", "x")
    assert (ran.out, ran.err) == ("resumed: 4 pauses ended by x\n", "")


@pytest.mark.parametrize(
    "args",
    [["--breaker", "--everything"], ["--breaker", "--namespace", "one"], ["--everything", "--playbook", "A"]],
)
def test_resume_takes_one_meaning(cli, on, args):
    cli("pause", "--why", "before")
    ran = cli("resume", *args)
    assert (ran.code, ran.out) == (2, "")
    assert "give one of --target" in ran.err
    assert len(on.journal.pauses(now=datetime.now(UTC))) == 1


@pytest.mark.parametrize("command", ["pause", "resume"])
@pytest.mark.parametrize(
    "args",
    [
        ["--target", "bizra-apex"],
        ["--target", "a/b/c"],
        ["--target", "A/b"],
        ["--target", ""],
        ["--namespace", ""],
        ["--playbook", ""],
        ["--namespace", "a", "--playbook", "B"],
    ],
)
def test_a_scope_that_cannot_be_meant_changes_nothing(cli, on, command, args):
    cli("pause", "--why", "before")

    ran = cli(command, *args, *(["--why", "x"] if command == "pause" else []))

    assert (ran.code, ran.out) == (2, "")
    assert len(on.journal.pauses(now=datetime.now(UTC))) == 1


@pytest.mark.parametrize("span", ["2", "soon", "-1h", "1.5h", "", "9999999d"])
def test_a_duration_that_is_none_changes_nothing(cli, on, span):
    ran = cli("pause", "--why", "x", "--for", span)

    assert (ran.code, ran.out) == (2, "")
    assert "--for" in ran.err
    assert on.journal.pauses(now=datetime.now(UTC)) == []


@pytest.mark.parametrize(
    ("args", "careful"),
    [
        (["--target", "bizra-testnet/bizra-apx"], "target bizra-testnet/bizra-apx"),
        (["--namespace", "bizra-tesnet"], "namespace bizra-tesnet"),
        (["--playbook", "AhsanScoreLo"], "playbook AhsanScoreLo"),
        (["--target", "bizra-testnet/bizra-apex"], None),
        (["--namespace", "bizra-testnet"], None),
        (["--playbook", "AhsanScoreLow"], None),
        ([], None),
    ],
)
def test_a_pause_of_what_the_policy_does_not_have_says_that_it_stops_nothing(cli, on, args, careful):
    ran = cli("pause", "--why", "x", *args)

    assert ran.code == 0
    told = f"careful: policy.yaml has no {careful}, so this stops nothing of it\n"
    assert ran.err == (told if careful else "")


def test_a_pause_needs_a_why(cli, on):
    assert cli("pause").code == cli("pause", "--why", " ").code == 2
    assert on.journal.pauses(now=datetime.now(UTC)) == []


# A person's word


def test_a_step_that_waits_is_approved(cli, on):
    on.policy = a_policy(mode=Mode.APPROVE)
    on.receive()
    on.step()
    assert on.told()[-1] == ("held", "awaiting_approval")

    ran = cli("approve", 1, "--by", "ada")

    assert (ran.code, ran.out) == (0, "incident 1: step 3, rolling restart: approved by ada\n")
    on.now = datetime.now(UTC)
    on.step()
    assert on.done == ["restart"]


def test_a_step_that_waits_is_rejected_and_the_escalation_acknowledged(cli, on):
    on.policy = a_policy(mode=Mode.APPROVE)
    on.receive()
    on.step()

    assert (
        cli("reject", 1, "--by", "ada").out
        == "incident 1: step 3, rolling restart: rejected by ada; it will be escalated\n"
    )
    on.now = datetime.now(UTC)
    on.step()
    assert on.journal.gauges() == {"escalated": 1}
    assert on.counted("escalations", reason="approval_refused") == 1
    assert on.done == []

    assert cli("acknowledge", 1, "--by", "bob").out == "incident 1: acknowledged by bob and closed\n"
    assert on.incident.phase is Phase.CLOSED
    assert on.counted("closed", reason="acknowledged") == 1
    again = cli("acknowledge", 1)
    assert cli("acknowledge", "--storm").err == "Error: there is no storm\n"
    assert cli("acknowledge").code == cli("acknowledge", 1, "--storm").code == 2
    assert (again.code, again.err) == (1, "Error: incident 1 is closed\n")


@pytest.mark.parametrize("command", ["approve", "reject"])
def test_a_word_about_another_action_than_the_one_that_waits_changes_nothing(cli, on, command):
    """Meanwhile the incident, or the policy, has come to another one than the person saw."""
    on.policy = a_policy(mode=Mode.APPROVE)
    on.receive()
    on.step()
    told = on.told()

    for meant, words in (
        (["--step", 2], "step 2"),
        (["--action", "scale up to 5"], "scale up to 5"),
        (["--step", 3, "--action", "scale up to 5"], "step 3, scale up to 5"),
        (["--action", ""], "an action without a name"),
    ):
        ran = cli(command, 1, *meant)
        expected = f"Error: incident 1 waits for step 3, rolling restart, not for {words}\n"
        assert (ran.code, ran.err) == (1, expected)
    assert on.told() == told

    (said,) = [one for one in cli("incidents", 1).json["next"] if f" {command} " in one["command"]]
    typed = shlex.split(said["command"])[1:]
    assert cli(*typed, "--step", 3, "--by", "ada").code == 0
    assert len(on.told()) == len(told) + 1


@pytest.mark.parametrize("command", ["approve", "reject", "acknowledge"])
def test_a_word_at_the_wrong_time_says_where_the_incident_is_and_changes_nothing(cli, on, command):
    on.metrics.away = True
    on.receive()
    on.step()
    told = on.told()

    ran = cli(command, 1)

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "Error: incident 1 is deciding, held: Prometheus did not answer\n"
    assert on.told() == told
    assert cli(command, 2).err == "Error: there is no incident 2\n"
    assert cli(command, 0).code == 2


# Where nothing works


@pytest.mark.parametrize("command", [*JOURNALED, "prune"])
def test_where_nobody_serves_no_journal_is_made_and_nothing_looks_done(cli, home, command):
    args = {"pause": ["--why", "x"], "replay": ["--from-journal", "1"]}.get(
        command, [] if command in ("incidents", "resume", "prune") else ["1"]
    )

    ran = cli(command, *args)

    assert (ran.code, ran.out) == (1, "")
    assert "there is no journal sqlite:///remediator.db: run this where `remediator serve` runs" in ran.err
    assert not list(home.glob("*.db*"))
    (home / "remediator.db").touch()
    assert cli(command, *args).code == 1


@pytest.mark.parametrize("command", JOURNALED)
def test_without_a_journal_there_is_one_clear_message(cli, command):
    args = {"pause": ["--why", "x"], "replay": ["--from-journal", "1"]}.get(
        command, [] if command in ("incidents", "resume") else ["1"]
    )

    ran = cli(command, *args, "--database", "postgresql://127.0.0.1:1/x")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("Error: OperationalError: ")


@pytest.mark.parametrize("command", ["serve", "check", "rbac"])
def test_a_policy_that_is_not_there_is_named(cli, command):
    token = ["--token-file", "token"] if command == "serve" else []

    ran = cli(command, *token, "--policy", "nowhere.yaml")

    assert (ran.code, ran.out, ran.err) == (1, "", "Error: nowhere.yaml: No such file or directory\n")


def test_a_file_that_is_no_database_is_said(cli, home):
    (home / "what.db").write_text("this is no database, and long enough to be looked at" * 20)

    ran = cli("incidents", "--database", "sqlite:///what.db")

    assert (ran.code, ran.out) == (1, "")
    assert "not a database" in ran.err


def test_a_mistaken_setting_is_said_by_every_command(cli):
    for command in ("check", "incidents", "resume", "serve"):
        ran = cli(command, REMEDIATOR_WORKERS="none")
        assert (ran.code, ran.out) == (1, "")
        assert "REMEDIATOR_WORKERS='none': it takes a whole number from 1" in ran.err


# As a program


def test_in_a_pipe_the_program_prints_json_and_on_a_terminal_it_does_not(home):
    command = [sys.executable, "-m", "remediator", "check"]
    piped = subprocess.run(command, cwd=home, capture_output=True, check=True, timeout=30)
    assert json.loads(piped.stdout)["mistakes"] == []

    ours, theirs = pty.openpty()
    subprocess.run(command, cwd=home, stdout=theirs, stderr=subprocess.PIPE, check=True, timeout=30)
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    os.close(theirs)
    assert "policy.yaml is sound" in shown


def test_a_pipe_that_is_closed_early_is_no_traceback(home):
    program = f"{sys.executable} -m remediator check --schema | head -c 1"
    done = subprocess.run(["sh", "-c", program], cwd=home, capture_output=True, check=False, timeout=30)

    assert done.stdout == b"{"
    assert b"Traceback" not in done.stderr


def test_the_payloads_are_there():
    assert len(PAYLOADS) >= 14
    assert Path(PAYLOADS[0]).is_file()


def test_nobody_pauses_in_the_name_of_the_breaker(cli):
    ran = cli("pause", "--why", "x", "--by", "breaker")

    assert ran.code == 2
    assert "is the breaker itself" in ran.err
