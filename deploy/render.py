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
        HERE / "components/admission/scale.yaml": _bounded(SCALE_POLICY, parse_policy(shipped)),
        HERE / "components/admission/autoscalers.yaml": _bounded(AUTOSCALER_POLICY, parse_policy(shipped)),
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


def _bounded(admission: str, policy: Policy) -> str:
    bounds = ", ".join(
        f"'{target}': [{bound.min_replicas}, {bound.max_replicas}]"
        for target, bound in sorted(policy.targets.items())
    )
    return NOTE.format(source="policy.yaml") + admission.replace("BOUNDS", f"{{{bounds}}}")


SCALE_POLICY = """\
# The policy's bounds once more, where we cannot step over them. Admission sees a Scale here, without the
# labels of its workload: so the targets are listed, and the opt-in label is not looked at.
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
        resources: [deployments/scale, statefulsets/scale]
  matchConditions:
    - name: the-remediator
      expression: request.userInfo.username == 'system:serviceaccount:remediator:remediator'
  variables:
    - name: bounds
      expression: >-
        BOUNDS
    - name: target
      expression: >-
        request.namespace + (request.resource.resource == 'statefulsets' ? '/statefulset/' : '/')
        + request.name
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

AUTOSCALER_POLICY = """\
# For policies with a step `under_hpa: raise_min`; we may not patch autoscalers without one. RBAC knows
# neither its name nor fields: this leaves minReplicas, of what scales a target, up to the policy's bound.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: remediator-autoscalers
  labels:
    app.kubernetes.io/name: remediator
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [autoscaling]
        apiVersions: [v2]  # one written as v1 is converted before it comes here
        operations: [UPDATE]
        resources: [horizontalpodautoscalers]
  matchConditions:
    - name: the-remediator
      expression: request.userInfo.username == 'system:serviceaccount:remediator:remediator'
  variables:
    - name: bounds
      expression: >-
        BOUNDS
    - name: target
      expression: >-
        request.namespace + (oldObject.spec.scaleTargetRef.kind == 'StatefulSet' ? '/statefulset/' : '/')
        + oldObject.spec.scaleTargetRef.name
    - name: before
      expression: oldObject.spec
    - name: after
      expression: object.spec
  validations:
    - message: the policy does not list what this autoscaler scales
      reason: Forbidden
      expression: >-
        variables.before.scaleTargetRef.kind in ['Deployment', 'StatefulSet']
        && variables.target in variables.bounds
    - message: the remediator changes nothing of an autoscaler but its minReplicas
      reason: Forbidden
      expression: >-
        variables.after.scaleTargetRef == variables.before.scaleTargetRef
        && variables.after.maxReplicas == variables.before.maxReplicas
        && has(variables.after.metrics) == has(variables.before.metrics)
        && (!has(variables.after.metrics) || variables.after.metrics == variables.before.metrics)
        && has(variables.after.behavior) == has(variables.before.behavior)
        && (!has(variables.after.behavior) || variables.after.behavior == variables.before.behavior)
    - message: the remediator changes no label, annotation or owner of an autoscaler
      reason: Forbidden
      expression: >-
        has(object.metadata.labels) == has(oldObject.metadata.labels)
        && (!has(object.metadata.labels) || object.metadata.labels == oldObject.metadata.labels)
        && has(object.metadata.annotations) == has(oldObject.metadata.annotations)
        && (!has(object.metadata.annotations)
        || object.metadata.annotations == oldObject.metadata.annotations)
        && has(object.metadata.ownerReferences) == has(oldObject.metadata.ownerReferences)
        && (!has(object.metadata.ownerReferences)
        || object.metadata.ownerReferences == oldObject.metadata.ownerReferences)
    - message: minReplicas is outside of 1, maxReplicas and the policy's bound for this target
      reason: Forbidden
      expression: >-
        has(variables.after.minReplicas) && variables.after.minReplicas >= 1
        && variables.after.minReplicas <= variables.after.maxReplicas
        && (!(variables.target in variables.bounds)
        || variables.after.minReplicas <= variables.bounds[variables.target][1])
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: remediator-autoscalers
  labels:
    app.kubernetes.io/name: remediator
spec:
  policyName: remediator-autoscalers
  validationActions: [Deny]
"""


if __name__ == "__main__":
    for path, text in rendered().items():
        path.write_text(text)
