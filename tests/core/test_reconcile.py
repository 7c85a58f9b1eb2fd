"""What Alertmanager has against what the journal has."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from remediator.core.reasons import Reason
from remediator.core.reconcile import Kept, Listed, Look, compare
from tests.builders import NOW, ago, an_alert

EVERY = timedelta(minutes=1)
OURS = frozenset({"remediator", "on-call"})
WATCHDOG = Listed(alert=an_alert("Watchdog"), active=True, receivers=frozenset({"on-call"}))


def listed(name="AhsanScoreLow", *, active=True, receivers=OURS, **overrides):
    return Listed(alert=an_alert(name, **overrides), active=active, receivers=receivers)


def look(*alerts, **overrides):
    given = {"name": "am", "up_since": ago(days=1), "listed": alerts}
    return Look(**{**given, **overrides})


def kept(alert=None, **overrides):
    alert = alert or an_alert()
    given = {
        "id": 1,
        "fingerprint": alert.fingerprint,
        "starts_at": alert.starts_at,
        "alert": alert.name,
        "firing": True,
        "reason": Reason.INCIDENT_OPENED,
        "last_seen": ago(minutes=5),
    }
    return Kept(**{**given, **overrides})


def difference(looks, known=(), *, sendable=None):
    return compare(looks, known, receiver="remediator", sendable=sendable, every=EVERY, now=NOW)


PRECISE = an_alert(starts_at=ago(minutes=1) + timedelta(microseconds=400))


@pytest.mark.parametrize(
    ("there", "known", "missed"),
    [
        pytest.param([listed()], [], True, id="unknown"),
        pytest.param([listed()], [kept()], False, id="known"),
        pytest.param([listed()], [kept(PRECISE)], False, id="known more precisely"),
        pytest.param([listed()], [kept(starts_at=ago(minutes=9))], True, id="a new period of firing"),
        pytest.param([listed(starts_at=ago(minutes=9))], [kept()], False, id="startsAt moved back"),
        pytest.param([listed()], [kept(firing=False)], True, id="it fires again"),
        pytest.param([listed()], [kept(firing=False, last_seen=NOW)], False, id="ended while we looked"),
        pytest.param([listed(receivers=frozenset({"on-call"}))], [], False, id="not routed to us"),
        pytest.param([WATCHDOG], [], False, id="the Watchdog"),
        pytest.param([listed(starts_at=ago(seconds=59))], [], False, id="the webhook has the first word"),
    ],
)
def test_what_was_missed(there, known, missed):
    found = difference([look(*there)], known)
    assert bool(found.missed) is missed
    assert found.suppressed == found.vanished == found.missing == found.back == ()


def test_what_fires_again_keeps_the_start_that_the_journal_knows():
    found = difference([look(listed())], [kept(PRECISE, firing=False)])
    assert [alert.starts_at for alert in found.missed] == [PRECISE.starts_at]


def test_of_several_alertmanagers_the_earliest_start_counts_and_one_that_would_send_it_suffices():
    early = listed(starts_at=ago(minutes=9), active=False)
    for order in ([look(listed()), look(early)], [look(early), look(listed())]):
        (alert,) = difference(order).missed
        assert alert.starts_at == ago(minutes=9)


@pytest.mark.parametrize(
    ("known", "suppressed"),
    [
        pytest.param([], True, id="unknown"),
        pytest.param([kept()], True, id="told before it was silenced"),
        pytest.param([kept(firing=False, reason=Reason.SUPPRESSED)], False, id="noted already"),
        pytest.param([kept(firing=False, reason=Reason.RESOLVED)], False, id="over"),
    ],
)
def test_what_is_silenced_or_inhibited_is_noted_once(known, suppressed):
    found = difference([look(listed(active=False))], known)
    assert found.missed == ()
    assert bool(found.suppressed) is suppressed


def test_what_is_silenced_on_its_way_to_others_is_no_affair_of_ours():
    found = difference([look(listed(active=False, receivers=frozenset({"on-call"})))])
    assert found == difference([look()])


@pytest.mark.parametrize(
    ("known", "noted"),
    [([], True), ([kept(firing=False, reason=Reason.SUPPRESSED)], False), ([kept(firing=False)], True)],
    ids=["unknown", "noted already", "it fires again"],
)
def test_what_the_route_mutes_is_noted_once_and_not_received(known, noted):
    found = difference([look(listed())], known, sendable=frozenset())
    assert found.missed == ()
    assert bool(found.suppressed) is noted


def test_what_the_route_lets_pass_is_received():
    assert difference([look(listed())], sendable=frozenset({an_alert().fingerprint})).missed


def test_a_mute_that_comes_later_does_not_end_what_was_sent():
    assert difference([look(listed())], [kept()], sendable=frozenset()).suppressed == ()


FIRST, SECOND = kept(), kept(missing_since=ago(minutes=1))
YOUNG = {"up_since": ago(minutes=4)}


@pytest.mark.parametrize(
    ("looks", "says"),
    [
        pytest.param([look()], True, id="up for long"),
        pytest.param([look(**YOUNG)], False, id="just restarted"),
        pytest.param([look(WATCHDOG, **YOUNG)], True, id="just restarted, and told again"),
        pytest.param([look(WATCHDOG, up_since=ago(seconds=119))], False, id="told of the Watchdog first"),
        pytest.param([look(WATCHDOG, up_since=ago(minutes=2))], True, id="and of the others by now"),
        pytest.param([look(WATCHDOG, up_since=None)], False, id="told again, up since nobody knows when"),
        pytest.param([look(up_since=None)], False, id="up since nobody knows when"),
        pytest.param([look(trouble="ConnectTimeout")], False, id="unreachable"),
        pytest.param([look(), look(trouble="ConnectTimeout")], False, id="one of two is unreachable"),
        pytest.param([look(), look(**YOUNG)], False, id="one of two just restarted"),
        pytest.param([], False, id="nobody was asked"),
    ],
)
def test_what_is_missing_twice_has_vanished_unless_there_is_doubt(looks, says):
    assert difference(looks, [FIRST]).missing == ((FIRST,) if says else ())
    assert difference(looks, [FIRST]).vanished == ()
    found = difference(looks, [SECOND])
    assert (found.vanished, found.back) == (((SECOND,), ()) if says else ((), (SECOND,)))


def test_two_looks_in_quick_succession_are_one():
    again = replace(FIRST, missing_since=ago(seconds=30))
    found = difference([look()], [again])
    assert found.vanished == found.missing == found.back == ()


@pytest.mark.parametrize(
    "known", [kept(last_seen=ago(seconds=30)), kept(firing=False)], ids=["heard just now", "over already"]
)
def test_what_cannot_be_missing(known):
    assert difference([look()], [known]) == difference([look()])


def test_what_comes_back_is_not_missing_any_more():
    found = difference([look(listed())], [SECOND])
    assert (found.back, found.missing, found.vanished) == ((SECOND,), (), ())


@pytest.mark.parametrize(("there", "heard"), [([WATCHDOG], True), ([listed()], False)])
def test_a_listed_watchdog_is_a_sign_of_life(there, heard):
    assert difference([look(*there)]).watchdog is heard
