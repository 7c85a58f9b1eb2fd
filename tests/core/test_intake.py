"""What becomes of one alert."""

from datetime import UTC, datetime, timedelta

import pytest

from remediator.core.actions import Target, Workload
from remediator.core.intake import KnownEpisode, admit, target_of
from remediator.core.reasons import Reason
from tests.builders import APEX, NOW, a_criterion, a_playbook, a_policy, after, ago, an_alert, labels_for

POLICY = a_policy(a_playbook(), a_playbook(alert="HiveDown"))
COOLDOWN = POLICY.limits.cooldown


def known(**overrides):
    given = {"starts_at": ago(minutes=1), "firing": True, "incident_id": 1, "closed_at": None}
    return KnownEpisode(**{**given, **overrides})


def without(*names):
    return {name: text for name, text in labels_for().items() if name not in names}


CLOSED = known(starts_at=ago(hours=1), closed_at=ago(minutes=20))

CASES = [
    pytest.param(an_alert(), None, None, Reason.INCIDENT_OPENED, id="new"),
    pytest.param(an_alert(), None, 1, Reason.INCIDENT_JOINED, id="new, target has an incident"),
    pytest.param(an_alert(), known(), 1, Reason.REPEATED, id="sent again"),
    pytest.param(an_alert(), known(firing=False), 1, Reason.INCIDENT_JOINED, id="fires again"),
    pytest.param(an_alert(), known(incident_id=0), 1, Reason.INCIDENT_JOINED, id="of an older incident"),
    pytest.param(an_alert(), known(incident_id=None), None, Reason.INCIDENT_OPENED, id="not acted on before"),
    pytest.param(an_alert(starts_at=ago(hours=1)), CLOSED, None, Reason.STILL_FIRING, id="still firing"),
    pytest.param(
        an_alert(starts_at=ago(hours=1)),
        known(closed_at=NOW - COOLDOWN),
        None,
        Reason.STILL_FIRING,
        id="still firing when the cooldown ends",
    ),
    pytest.param(
        an_alert(starts_at=ago(hours=1)),
        known(closed_at=NOW - COOLDOWN + timedelta(seconds=1)),
        None,
        Reason.JUST_CLOSED,
        id="just closed",
    ),
    pytest.param(
        an_alert(starts_at=ago(minutes=2)),
        known(closed_at=ago(minutes=3)),
        None,
        Reason.INCIDENT_OPENED,
        id="a new episode right after the close",
    ),
    pytest.param(an_alert(firing=False), known(), 1, Reason.RESOLVED, id="resolved"),
    pytest.param(an_alert(firing=False), None, None, Reason.RESOLVED, id="resolved, never seen firing"),
    pytest.param(an_alert(firing=False), known(firing=False), 1, Reason.REPEATED, id="resolved, sent again"),
    pytest.param(an_alert("Unheard"), None, None, Reason.NO_PLAYBOOK, id="no playbook"),
    pytest.param(an_alert("Unheard"), None, 1, Reason.NO_PLAYBOOK, id="no playbook, target has an incident"),
    pytest.param(
        an_alert(target=Target("bizra-testnet", "other")),
        None,
        None,
        Reason.UNKNOWN_TARGET,
        id="other target",
    ),
    pytest.param(
        an_alert(target=Target("kube-system", "bizra-apex")),
        None,
        None,
        Reason.UNKNOWN_TARGET,
        id="namespace",
    ),
    pytest.param(an_alert(labels=without("namespace")), None, None, Reason.NO_TARGET, id="no namespace"),
    pytest.param(an_alert(labels=without("deployment")), None, None, Reason.NO_TARGET, id="no deployment"),
    pytest.param(
        an_alert(labels={**labels_for(), "deployment": "a/../b"}), None, None, Reason.NO_TARGET, id="a path"
    ),
    pytest.param(
        an_alert(starts_at=datetime(1, 1, 1, tzinfo=UTC)), None, None, Reason.IMPLAUSIBLE_TIME, id="zero time"
    ),
    pytest.param(an_alert(starts_at=after(hours=2)), None, 1, Reason.IMPLAUSIBLE_TIME, id="future"),
]


@pytest.mark.parametrize(("alert", "episode", "incident", "reason"), CASES)
def test_each_alert_gets_one_reason(alert, episode, incident, reason):
    admission = admit(alert, POLICY, known=episode, open_incident=incident, now=NOW)
    assert admission.reason is reason


def test_an_admission_names_the_target_once_it_is_known_to_be_one():
    assert admit(an_alert(), POLICY, known=None, open_incident=None, now=NOW).target == APEX
    nameless = an_alert(labels=without("namespace"))
    assert admit(nameless, POLICY, known=None, open_incident=None, now=NOW).target is None


def labelled(**labels):
    return an_alert(labels={"alertname": "AhsanScoreLow", "namespace": "a", **labels})


KINDS = [
    pytest.param({"deployment": "b"}, Target("a", "b"), id="a Deployment"),
    pytest.param({"statefulset": "b"}, Target("a", "b", Workload.STATEFUL_SET), id="a StatefulSet"),
    pytest.param({"deployment": "", "statefulset": "b"}, Target("a", "b", Workload.STATEFUL_SET), id="empty"),
    pytest.param({"deployment": "b", "statefulset": "b"}, None, id="both: no guessing"),
    pytest.param({"pod": "b-0"}, None, id="neither"),
]


@pytest.mark.parametrize(("labels", "target"), KINDS)
def test_the_label_says_which_kind_of_workload_it_is(labels, target):
    assert target_of(labelled(**labels)) == target


SERVED = [
    pytest.param("$deployment", Workload.DEPLOYMENT, Reason.INCIDENT_OPENED, id="its kind"),
    pytest.param("$deployment", Workload.STATEFUL_SET, Reason.NO_PLAYBOOK, id="another kind"),
    pytest.param("$statefulset", Workload.STATEFUL_SET, Reason.INCIDENT_OPENED, id="a StatefulSet"),
    pytest.param("$statefulset", Workload.DEPLOYMENT, Reason.NO_PLAYBOOK, id="not a StatefulSet"),
    pytest.param("$workload", Workload.DEPLOYMENT, Reason.INCIDENT_OPENED, id="either: a Deployment"),
    pytest.param("$workload", Workload.STATEFUL_SET, Reason.INCIDENT_OPENED, id="either: a StatefulSet"),
]


@pytest.mark.parametrize(("variable", "kind", "reason"), SERVED)
def test_a_playbook_is_for_the_kind_that_its_query_selects(variable, kind, reason):
    target = Target("a", "b", kind)
    verify = a_criterion(query=f'score{{namespace="$namespace",it="{variable}"}}')
    policy = a_policy(a_playbook(verify=verify), targets=(target,))
    admission = admit(an_alert(target=target), policy, known=None, open_incident=None, now=NOW)
    assert (admission.reason, admission.target) == (reason, target)


NAMES = [
    pytest.param("a", "b", True, id="short"),
    pytest.param("a" * 63, "b" * 253, True, id="as long as may be"),
    pytest.param("a" * 64, "b", False, id="namespace too long"),
    pytest.param("a", "b" * 254, False, id="deployment too long"),
    pytest.param("a.b", "c", False, id="a dot in a namespace"),
    pytest.param("a", "b.c", True, id="a dot in a deployment"),
    pytest.param("A", "b", False, id="upper case"),
    pytest.param("-a", "b", False, id="leading dash"),
    pytest.param("a", "b-", False, id="trailing dash"),
    pytest.param("a", "b\n", False, id="newline"),
    pytest.param("", "b", False, id="empty namespace"),
    pytest.param("a", "", False, id="empty deployment"),
    pytest.param("a", '"} or vector(1)', False, id="PromQL"),
    pytest.param("$(reboot)", "b", False, id="shell"),
    pytest.param("٣", "b", False, id="a digit that is not ASCII"),
]


@pytest.mark.parametrize(("namespace", "deployment", "valid"), NAMES)
def test_only_kubernetes_names_are_a_target(namespace, deployment, valid):
    alert = an_alert(labels={**labels_for(), "namespace": namespace, "deployment": deployment})
    assert target_of(alert) == (Target(namespace, deployment) if valid else None)
