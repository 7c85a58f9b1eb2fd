# ruff: noqa: INP001 - a script beside what it writes
"""Write the generated files of deploy/ from policy.yaml and prometheus-rules/. A test holds them equal."""

from __future__ import annotations

import re
from pathlib import Path

from remediator.core.policy import Policy
from remediator.permissions import manifests
from remediator.policy_file import parse_policy

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NOTE = "# Written by deploy/render.py; edit {source} and run it again.\n"
_MODE = re.compile(r"^mode: \w+$", re.MULTILINE)


def rendered() -> dict[Path, str]:
    """Each generated file with its text."""
    shipped = (ROOT / "policy.yaml").read_text()
    observing = _MODE.sub("mode: observe", shipped)
    return {
        HERE / "policies/auto/policy.yaml": NOTE.format(source="policy.yaml") + shipped,
        HERE / "policies/auto/rbac.yaml": _rbac(shipped),
        HERE / "policies/observe/policy.yaml": NOTE.format(source="policy.yaml") + observing,
        HERE / "policies/observe/rbac.yaml": _rbac(observing),
        HERE / "components/monitoring/prometheus-rule.yaml": _prometheus_rule(),
        HERE / "components/admission/scale.yaml": _scale_policy(parse_policy(shipped)),
    }


def _rbac(policy: str) -> str:
    return manifests(parse_policy(policy), namespace="remediator", account="remediator")


def _prometheus_rule() -> str:
    """The rule files as one PrometheusRule, comments and all. A file without groups is no rule file."""
    texts = {path: path.read_text() for path in sorted((ROOT / "prometheus-rules").glob("*.yml"))}
    heads, groups = [], []
    for text in texts.values():
        head, found, body = text.partition("\ngroups:\n")
        if found:
            heads.append(head.strip())
            groups.append(body.rstrip())
    return "".join(
        (
            NOTE.format(source="prometheus-rules/"),
            "apiVersion: monitoring.coreos.com/v1\n",
            "kind: PrometheusRule\n",
            "metadata:\n  name: remediator\n  namespace: remediator\n",
            "  labels:\n    app.kubernetes.io/name: remediator\n",
            "spec:\n",
            _indented("\n\n".join(heads)),
            "  groups:\n",
            _indented("\n\n".join(groups)),
        )
    )


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" if line else "\n" for line in text.splitlines())


def _scale_policy(policy: Policy) -> str:
    bounds = ", ".join(
        f"'{target}': [{bound.min_replicas}, {bound.max_replicas}]"
        for target, bound in sorted(policy.targets.items())
    )
    return NOTE.format(source="policy.yaml") + SCALE_POLICY.replace("BOUNDS", f"{{{bounds}}}")


SCALE_POLICY = """\
# The policy's bounds once more, where we cannot step over them. Admission sees a Scale here, without the
# labels of its Deployment: so the targets are listed, and the opt-in label is not looked at.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: remediator-scale
  labels:
    app.kubernetes.io/name: remediator
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [apps]
        apiVersions: [v1]
        operations: [UPDATE]
        resources: [deployments/scale]
  matchConditions:
    - name: the-remediator
      expression: request.userInfo.username == 'system:serviceaccount:remediator:remediator'
  variables:
    - name: bounds
      expression: >-
        BOUNDS
    - name: target
      expression: request.namespace + '/' + request.name
  validations:
    - message: the policy does not list this target
      reason: Forbidden
      expression: variables.target in variables.bounds
    - message: the replica count is outside the policy's bounds for this target
      reason: Forbidden
      expression: >-
        !(variables.target in variables.bounds) || (has(object.spec.replicas)
        && object.spec.replicas >= variables.bounds[variables.target][0]
        && object.spec.replicas <= variables.bounds[variables.target][1])
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: remediator-scale
  labels:
    app.kubernetes.io/name: remediator
spec:
  policyName: remediator-scale
  validationActions: [Deny]
"""


if __name__ == "__main__":
    for path, text in rendered().items():
        path.write_text(text)
