"""Notifications that come at once: nobody is refused for having come in another order."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from itertools import count
from unittest.mock import patch

import pytest
from sqlalchemy import text

from remediator.adapters.journal.intake import Intake
from remediator.core.actions import Target
from remediator.core.reasons import Reason
from remediator.core.reconcile import Listed, Look
from remediator.lifecycle import World
from remediator.lifecycle.receive import MOST_TRIES, receive
from remediator.lifecycle.reconcile import reconcile
from remediator.ports import JournalUnavailable, Overtaken
from tests.builders import APEX, NOW, a_notification, a_playbook, a_policy, after, ago, an_alert
from tests.waiting import eventually
from tests.worlds import ScriptedCluster, ScriptedMetrics


def targets_named(*names):
    return tuple(Target("bizra-testnet", f"bizra-{name}") for name in names)


def about(targets, sender):
    """A notification with a new alert of the sender for each target, in this order."""
    return a_notification(*(an_alert(target=one, fingerprint=f"{sender}{one.name[6:]}") for one in targets))


def world_of(journal, targets):
    policy = a_policy(a_playbook(), targets=targets)
    return World(journal=journal, cluster=ScriptedCluster(), metrics=ScriptedMetrics(), policy=lambda: policy)


def posting(journal, targets):
    """What posts a notification to a journal whose policy knows the targets. Returns its Receipt."""
    world, bodies = world_of(journal, targets), count()

    def post(notification, now=NOW):
        return receive(world, notification, body=f"{next(bodies)}", now=now)

    return post


def at_once(*calls):
    """Run each in a thread; returns what they returned, or why the journal refused them."""

    def called(call):
        try:
            return call()
        except JournalUnavailable as error:
            return str(error)

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(called, calls))


def whole(journal, incidents, events):
    stories = [journal.story(one.id) for one in journal.incidents()]
    assert [(len(story.events), story.broken_at) for story in stories] == [(events, None)] * incidents


def test_notifications_about_the_same_targets_in_whatever_order_do_not_wait_for_each_other(journal):
    """PostgreSQL ends such a wait by refusing one of the two: Alertmanager would have to send it again."""
    targets = targets_named(*range(25))
    post = posting(journal, targets)

    def sender(name):
        for number in range(6):
            order = random.Random(f"{name} {number}").sample(targets, len(targets))
            post(about(order, f"{name}{number}x"))

    post(about(targets, "first"))
    assert at_once(*(partial(sender, name) for name in "abcd")) == [None] * 4
    whole(journal, incidents=25, events=25)


def test_notifications_that_begin_the_same_incidents_in_whatever_order_do_not_wait_for_each_other(journal):
    """Whoever comes second finds what the first one has begun, and joins it."""
    targets = targets_named(*range(40))
    post = posting(journal, targets)
    for start in range(0, 40, 10):
        some = targets[start : start + 10]
        first, second = at_once(
            partial(post, about(some, "first")), partial(post, about(some[::-1], "second"))
        )
        said = sorted({one.reason for one, _ in receipt.admissions}.pop() for receipt in (first, second))
        assert said == [Reason.INCIDENT_JOINED, Reason.INCIDENT_OPENED]
    whole(journal, incidents=40, events=2)


class Silenced:
    """An Alertmanager that has silenced all of them, and lists them in whatever order."""

    def __init__(self, alerts):
        self.alerts = alerts

    def look(self):
        ours = frozenset({"remediator"})
        mixed = random.sample(self.alerts, len(self.alerts))
        listed = tuple(Listed(alert=one, active=False, receivers=ours) for one in mixed)
        return [Look(name="am", up_since=ago(days=1), listed=listed)]

    def sendable(self, _receiver):
        return frozenset()


def test_what_alertmanager_has_silenced_is_written_in_the_order_that_all_keep_to(journal):
    """While the same alerts come in: else one of the two would be refused, as above."""
    targets = targets_named(*range(25))
    post, world, notification = posting(journal, targets), world_of(journal, targets), about(targets, "a")
    silenced = Silenced(notification.alerts)

    def silence():
        reconcile(world, silenced, receiver="remediator", every=timedelta(minutes=1), now=NOW)

    def twelve_times(what):
        for _ in range(12):
            what()

    post(notification)
    assert at_once(partial(twelve_times, partial(post, notification)), partial(twelve_times, silence)) == [
        None,
        None,
    ]
    assert len(journal.incidents()) == len(targets)


def test_who_is_overtaken_again_and_again_is_refused_in_the_end(journal):
    """Alertmanager sends it again; nothing of it was recorded."""
    post = posting(journal, (APEX,))
    with patch.object(Intake, "create_incidents", side_effect=Overtaken("again")) as begun:
        assert at_once(partial(post, about([APEX], "first"))) == ["again"]
    assert begun.call_count == MOST_TRIES
    assert journal.counters() == {}


@pytest.fixture
def waiting(journal):
    """Whether another transaction of this journal waits for one that goes on."""
    if journal._dialect == "sqlite":
        return lambda: journal._engine.pool._turns._line
    locks = text(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    def asked():
        with journal._readers.connect() as connection:
            return connection.execute(locks).first()

    return asked


def test_an_alert_that_comes_while_its_incident_is_being_closed_begins_the_next_one(journal, waiting):
    """It may not join one that is over: nobody would look at it until Alertmanager sends it again."""
    post = posting(journal, (APEX,))
    post(about([APEX], "first"))
    late = a_notification(an_alert(fingerprint="late", starts_at=after(minutes=6)))
    with ThreadPoolExecutor(1) as thread:
        with journal.transaction() as tx:
            (closed,) = tx.open_incidents([APEX]).values()
            tx.note_person(closed, now=after(minutes=5), phase="closed", closed_at=after(minutes=5))
            receipt = thread.submit(post, late, now=after(minutes=7))
            eventually(waiting, "the notification waits for the incident", every=0.005)
        ((admission, incident),) = receipt.result().admissions
    assert admission.reason is Reason.INCIDENT_OPENED
    assert [one.id for one in journal.incidents(open_only=True)] == [incident] != [closed]
