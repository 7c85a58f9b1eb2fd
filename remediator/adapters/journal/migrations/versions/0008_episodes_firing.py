"""What fires of an alert is found by an index, however often it fired before."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    firing = sa.text("firing")
    op.create_index(
        "episodes_firing", "episodes", ["fingerprint"], sqlite_where=firing, postgresql_where=firing
    )
