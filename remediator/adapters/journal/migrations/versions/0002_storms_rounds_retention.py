"""Storms, rounds, the Watchdog; what vanished from Alertmanager; indexes to prune by."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _index(name: str, table: str, column: str, where: str | None = None) -> None:
    predicate = sa.text(where) if where else None
    op.create_index(name, table, [column], sqlite_where=predicate, postgresql_where=predicate)


def upgrade() -> None:
    op.create_table(
        "storms",
        sa.Column("id", _ID, nullable=False),
        sa.Column("open", sa.Boolean(), nullable=True),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("open"),
    )
    op.create_table(
        "rounds",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "heard",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.add_column("incidents", sa.Column("storm_id", _ID, nullable=True))
    op.add_column("episodes", sa.Column("missing_since", sa.BigInteger(), nullable=True))
    _index("incidents_closed", "incidents", "closed_at", "phase = 'closed'")
    _index("incidents_in_storm", "incidents", "id", "phase = 'deciding' AND hold_reason = 'storm'")
    _index("notifications_received", "notifications", "last_received_at")
    _index("episodes_of_no_incident", "episodes", "last_seen", "incident_id IS NULL")
