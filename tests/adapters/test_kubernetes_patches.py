"""Each write carries the preconditions that make the API server refuse it when somebody was faster."""

import pytest

from remediator.adapters.kubernetes.patches import restart_write, scale_write, undo_write
from remediator.core.actions import ScaleIntent
from tests.builders import APEX, a_restart_intent, an_undo_intent

LABELS = {"remediator/enabled": "true"}
LIVE = {
    "metadata": {"labels": LABELS, "annotations": {}},
    "spec": {"template": {"metadata": {"annotations": {}}, "spec": {}}},
}
WRITES = {
    "restart": lambda: restart_write(APEX, a_restart_intent(), LIVE),
    "undo": lambda: undo_write(APEX, an_undo_intent(), LIVE, LIVE),
}


@pytest.mark.parametrize("action", WRITES)
@pytest.mark.parametrize(
    "test",
    [
        pytest.param({"op": "test", "path": "/metadata/uid", "value": "uid-1"}, id="uid"),
        pytest.param({"op": "test", "path": "/metadata/generation", "value": 7}, id="generation"),
        pytest.param({"op": "test", "path": "/metadata/labels", "value": LABELS}, id="labels"),
    ],
)
def test_a_change_of_the_template_is_for_one_state_of_one_object(action, test):
    body = WRITES[action]().body
    assert test in body
    assert body.index(test) < min(n for n, operation in enumerate(body) if operation["op"] != "test")


def test_scaling_is_for_the_version_that_was_looked_at():
    intent = ScaleIntent(uid="uid-1", generation=7, replicas_from=3, replicas_to=5)
    write = scale_write(APEX, intent, {"metadata": {"resourceVersion": "99"}})
    assert write.body == {
        "metadata": {"uid": "uid-1", "resourceVersion": "99"},
        "spec": {"replicas": 5},
    }
