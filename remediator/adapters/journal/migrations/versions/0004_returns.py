"""Scale-ups are given back: an incident that does so no longer owns its target."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("incidents", sa.Column("return_to", sa.Integer(), nullable=True))
    op.drop_index("one_open_incident_per_target", "incidents")
    for name, predicate in (
        ("one_open_incident_per_target", "phase NOT IN ('closed', 'returning')"),
        ("one_returning_incident_per_target", "phase = 'returning'"),
    ):
        op.create_index(
            name,
            "incidents",
            ["namespace", "deployment"],
            unique=True,
            sqlite_where=sa.text(predicate),
            postgresql_where=sa.text(predicate),
        )
