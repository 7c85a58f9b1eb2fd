"""Who else has a say in a workload: GitOps tools, operators, autoscalers, disruption budgets.

Helm is none of them: it writes when somebody runs it, and reverts nothing by itself.
"""

from __future__ import annotations

from remediator.adapters.kubernetes.objects import (
    Json,
    controller_of,
    items,
    mapping,
    name_of,
    number,
    text,
    uid_of,
    value_at,
)
from remediator.adapters.kubernetes.selectors import selects
from remediator.core.seen import Autoscaler

_ARGO_ANNOTATION = "argocd.argoproj.io/tracking-id"
"""Argo CD's mark since 3.0. Its older one, `app.kubernetes.io/instance`, Helm writes too: no proof."""
_ARGO_LABEL = "argocd.argoproj.io/instance"
_FLUX_LABELS = ("kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name")
_FLUX_OFF = "kustomize.toolkit.fluxcd.io/reconcile"
_GITOPS_MANAGERS = (
    "argocd-controller",
    "argocd-application-controller",
    "kustomize-controller",
    "helm-controller",
)
"""Field managers of Argo CD and Flux: they have applied the object, whatever marks were taken off since."""
_KEDA_LABEL = "scaledobject.keda.sh/name"


def gitops_marks(thing: Json) -> tuple[str, ...]:
    """What says that a GitOps tool would revert our change. Flux that is told to leave it alone would not."""
    annotations = mapping(thing, "metadata", "annotations")
    labels = mapping(thing, "metadata", "labels")
    flux_off = annotations.get(_FLUX_OFF) == "disabled"
    marks = []
    if _ARGO_ANNOTATION in annotations:
        marks.append(f"annotation {_ARGO_ANNOTATION}={annotations[_ARGO_ANNOTATION]}")
    marks += [
        f"label {key}={labels[key]}"
        for key in (_ARGO_LABEL, *_FLUX_LABELS)
        if key in labels and not (flux_off and key == _FLUX_LABELS[0])
    ]
    managers = {text(entry, "manager") for entry in items(thing, "metadata", "managedFields")}
    marks += [
        f"field manager {manager}"
        for manager in _GITOPS_MANAGERS
        if manager in managers and not (flux_off and manager == "kustomize-controller")
    ]
    return tuple(marks)


def owner_of(thing: Json) -> str | None:
    """The owner that controls the object, `kind/name`."""
    owner = controller_of(thing)
    return f"{text(owner, 'kind')}/{text(owner, 'name')}" if owner else None


def autoscalers_of(kind: str, name: str, hpas: list[Json]) -> tuple[Autoscaler, ...]:
    """The autoscalers that scale the workload, whatever API version they were read in."""
    found = [autoscaler_seen(hpa) for hpa in hpas if scales(hpa, kind, name)]
    return tuple(sorted(found, key=lambda hpa: hpa.name))


def budgets_on(labels: Json, budgets: list[Json]) -> tuple[str, ...]:
    """The disruption budgets that select pods with these labels, in words."""
    return tuple(
        sorted(
            f"{name_of(budget)} allows {number(budget, 'status', 'disruptionsAllowed')} evictions now"
            for budget in budgets
            if selects(mapping(budget, "spec", "selector"), labels)
        )
    )


def autoscaler_seen(hpa: Json) -> Autoscaler:
    least = value_at(hpa, "spec", "minReplicas")
    return Autoscaler(
        name=name_of(hpa),
        minimum=1 if least is None else number(hpa, "spec", "minReplicas"),
        maximum=number(hpa, "spec", "maxReplicas"),
        current=number(hpa, "status", "currentReplicas"),
        desired=number(hpa, "status", "desiredReplicas"),
        owner=owner_of(hpa) or _keda(hpa) or _gitops(hpa),
        uid=uid_of(hpa),
    )


def _keda(hpa: Json) -> str | None:
    scaled_object = text(hpa, "metadata", "labels", _KEDA_LABEL)
    return f"ScaledObject/{scaled_object}" if scaled_object else None


def _gitops(hpa: Json) -> str | None:
    marks = gitops_marks(hpa)
    return f"GitOps ({marks[0]})" if marks else None


def scales(hpa: Json, kind: str, name: str) -> bool:
    """Whether the autoscaler's target is this workload."""
    scaled = mapping(hpa, "spec", "scaleTargetRef")
    group = text(scaled, "apiVersion").rpartition("/")[0]
    return scaled.get("kind") == kind and scaled.get("name") == name and group in {"apps", "extensions", ""}
