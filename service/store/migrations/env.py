"""What alembic runs: the steps that are missing, on the connection the store gives, inside its transaction."""

from __future__ import annotations

from alembic import context

from service.store import ehr_tables, review_tables, trust_tables  # noqa: F401  their tables join Base
from service.store.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True)
context.run_migrations()
