"""A simulated Kubernetes API server with the control loops that Deployments need.

It stands for the outside world: unmodified kubectl works against it, and so does any client
that speaks to a real one. It is not a cluster: nothing runs in its pods, and only the kinds in
`resources.py` exist. Public door: `LabCluster`, and `python -m remediator.lab cluster`.
"""

from remediator.lab.cluster.command import add_arguments, run
from remediator.lab.cluster.lab import LabCluster

__all__ = ["LabCluster", "add_arguments", "run"]
