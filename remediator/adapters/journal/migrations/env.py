"""Alembic's entry: migrates on the connection that `migrate.upgrade` passes in."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
