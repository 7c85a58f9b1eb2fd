"""A target may be a StatefulSet too: what was kept until now is about Deployments."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

INDEXES = (
    ("one_open_incident_per_target", "incidents", "phase NOT IN ('closed', 'returning')"),
    ("one_returning_incident_per_target", "incidents", "phase = 'returning'"),
    ("one_attempt_in_flight_per_target", "attempts", "state IN ('intended', 'applied', 'rolled_out')"),
)


def upgrade() -> None:
    for table, nullable in (("incidents", False), ("attempts", False), ("episodes", True)):
        kind = sa.Column("target_kind", sa.Text(), nullable=nullable, server_default="Deployment")
        op.add_column(table, kind)
    for name, table, predicate in INDEXES:
        op.drop_index(name, table)
        op.create_index(
            name,
            table,
            ["namespace", "deployment", "target_kind"],
            unique=True,
            sqlite_where=sa.text(predicate),
            postgresql_where=sa.text(predicate),
        )
