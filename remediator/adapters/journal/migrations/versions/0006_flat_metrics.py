"""What metrics and lists ask is found by an index or kept as it happens, however long the journal is."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "last_applied",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("target_kind", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "deployment", "target_kind", "kind"),
    )
    op.execute(
        "INSERT INTO last_applied (namespace, deployment, target_kind, kind, at) "
        "SELECT namespace, deployment, target_kind, kind, max(applied_at) FROM attempts "
        "WHERE applied_at IS NOT NULL GROUP BY namespace, deployment, target_kind, kind"
    )
    predicate = sa.text("phase <> 'closed'")
    op.create_index(
        "incidents_not_closed", "incidents", ["id"], sqlite_where=predicate, postgresql_where=predicate
    )
