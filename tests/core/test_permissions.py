"""What each action needs, and what is said when it is missing."""

import pytest

from remediator.core.actions import RollingRestart, RolloutUndo, Scale, Target
from remediator.core.permissions import (
    READ_SCALE,
    READS,
    WRITE_DEPLOYMENT,
    WRITE_SCALE,
    AccessReview,
    needed_by,
)
from remediator.core.policy import Step
from remediator.core.reasons import Reason
from remediator.core.steps import weigh_steps
from tests.builders import APEX, RESTART, a_playbook, a_situation, an_observation

NEEDS = [
    pytest.param(RollingRestart(), (WRITE_DEPLOYMENT,), id="restart"),
    pytest.param(RolloutUndo(), (WRITE_DEPLOYMENT,), id="undo"),
    pytest.param(Scale(5), (READ_SCALE, WRITE_SCALE), id="scale"),
]


@pytest.mark.parametrize(("action", "needed"), NEEDS)
def test_an_action_needs_its_own_writes_and_no_more(action, needed):
    assert needed_by(action) == needed


@pytest.mark.parametrize(("action", "needed"), NEEDS)
def test_a_step_we_may_not_take_is_passed_over_and_says_what_is_missing(action, needed):
    seen = an_observation(missing_permissions=needed)
    verdicts = weigh_steps(a_situation(playbook=a_playbook(Step(action=action)), seen=seen))
    assert [verdict.reason for verdict in verdicts] == [Reason.FORBIDDEN]
    assert str(needed[-1]) in verdicts[0].detail


def test_a_permission_another_action_needs_stops_nothing():
    seen = an_observation(missing_permissions=(WRITE_SCALE,))
    (verdict,) = weigh_steps(a_situation(playbook=a_playbook(RESTART), seen=seen))
    assert verdict.chosen


def test_a_permission_is_written_with_its_group():
    assert str(WRITE_DEPLOYMENT) == "patch deployments (apps)"
    assert "list pods" in [str(permission) for permission in READS]


COMPLAINTS = [
    pytest.param(AccessReview(), None, id="nothing"),
    pytest.param(AccessReview(missing={APEX: ()}), None, id="asked, nothing missing"),
    pytest.param(
        AccessReview(missing={APEX: (WRITE_SCALE, READ_SCALE), Target("a", "b"): (WRITE_SCALE,)}),
        "a/b lacks patch deployments/scale (apps); bizra-testnet/bizra-apex lacks "
        "patch deployments/scale (apps), get deployments/scale (apps)",
        id="missing, by target",
    ),
    pytest.param(
        AccessReview(unanswered="timed out"), "the access review is incomplete: timed out", id="unanswered"
    ),
]


@pytest.mark.parametrize(("review", "words"), COMPLAINTS)
def test_a_review_complains_in_words(review, words):
    assert review.complaint == words
