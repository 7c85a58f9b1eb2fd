"""What a person is asked to approve is kept by what it does: a step's number may be another step's later."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("incidents", sa.Column("approved_action", sa.Text(), nullable=True))
