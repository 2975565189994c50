"""The tables of the clinician's page."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make them."""
    op.create_table("attempts",
        sa.Column("what", sa.String(length=64), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("locked_until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("what", name=op.f("pk_attempts")),
    )
    op.create_index(op.f("ix_attempts_locked_until"), "attempts", ["locked_until"], unique=False)
    op.create_table("audit",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("actor_name", sa.String(length=255), nullable=False),
        sa.Column("roles", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=24), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("item", sa.String(length=64), nullable=False),
        sa.Column("persons", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.String(length=8), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("audit_by_action", "audit", ["action", "id"], unique=False)
    op.create_index("audit_by_actor", "audit", ["actor", "id"], unique=False)
    op.create_index("audit_by_outcome", "audit", ["outcome", "id"], unique=False)
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_table("audit_cursors",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("line_id", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audit_cursors")),
    )
    op.create_table("holds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person", sa.String(length=32), nullable=False),
        sa.Column("study", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("made_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
    )
    op.create_index(op.f("ix_holds_person"), "holds", ["person"], unique=False)
    op.create_index(op.f("ix_holds_study"), "holds", ["study"], unique=False)
    op.create_table("login_links",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("caller", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_links")),
    )
    op.create_table("oppositions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person", sa.String(length=32), nullable=False),
        sa.Column("study", sa.String(length=32), nullable=False),
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("made_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oppositions")),
    )
    op.create_index(op.f("ix_oppositions_person"), "oppositions", ["person"], unique=False)
    op.create_index(op.f("ix_oppositions_study"), "oppositions", ["study"], unique=False)
    op.create_table("pending_logins",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("browser", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("verifier", sa.String(length=128), nullable=False),
        sa.Column("onward", sa.String(length=255), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pending_logins")),
    )
    op.create_index(op.f("ix_pending_logins_expires_at"), "pending_logins", ["expires_at"], unique=False)
    op.create_table("risks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("same", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("person", sa.String(length=32), nullable=False),
        sa.Column("encounter", sa.String(length=255), nullable=False),
        sa.Column("department", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=120), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("patient", sa.JSON(), nullable=False),
        sa.Column("moment", sa.Double(), nullable=True),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("card", sa.String(length=36), nullable=False),
        sa.Column("scored_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_risks")),
        sa.UniqueConstraint("key", name=op.f("uq_risks_key")),
        sa.UniqueConstraint("same", name=op.f("uq_risks_same")),
    )
    op.create_index("department_now", "risks", ["model", "department", "scored_at"], unique=False)
    op.create_index(op.f("ix_risks_card"), "risks", ["card"], unique=False)
    op.create_index(op.f("ix_risks_person"), "risks", ["person"], unique=False)
    op.create_index(op.f("ix_risks_scored_at"), "risks", ["scored_at"], unique=False)
    op.create_index(op.f("ix_risks_subject"), "risks", ["subject"], unique=False)
    op.create_index("trend", "risks", ["person", "model", "encounter", "moment"], unique=False)
    op.create_table("sessions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("caller", sa.JSON(), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("remembered", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("login_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"], unique=False)
    op.create_index(op.f("ix_sessions_subject"), "sessions", ["subject"], unique=False)
    op.create_table("verdicts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("target_kind", sa.String(length=8), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=120), nullable=False),
        sa.Column("decision", sa.String(length=8), nullable=False),
        sa.Column("reason_code", sa.String(length=64), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("reader", sa.String(length=8), nullable=False),
        sa.Column("reviewer", sa.JSON(), nullable=False),
        sa.Column("reviewer_subject", sa.String(length=255), nullable=False),
        sa.Column("counted_by", sa.JSON(), nullable=False),
        sa.Column("made_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
        sa.UniqueConstraint("key", name=op.f("uq_verdicts_key")),
        sa.UniqueConstraint("target_kind", "target_id", "number", name=op.f("uq_verdicts_target_kind")),
        sa.UniqueConstraint("token", name=op.f("uq_verdicts_token")),
    )
    op.create_index(op.f("ix_verdicts_made_at"), "verdicts", ["made_at"], unique=False)
    op.create_index(op.f("ix_verdicts_reviewer_subject"), "verdicts", ["reviewer_subject"], unique=False)
    op.create_index("verdicts_by_model", "verdicts", ["model", "made_at"], unique=False)
    op.create_table("worklist_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worklist_change")),
    )
    op.create_table("worklist_entries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=32), nullable=False),
        sa.Column("patient_name", sa.String(length=324).with_variant(sa.String(length=324, collation="C"), "postgresql"),
        nullable=False),
        sa.Column("patient_id", sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
        nullable=False),
        sa.Column("accession_number", sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
        nullable=False),
        sa.Column("department", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("modality", sa.String(length=32), nullable=False),
        sa.Column("urgency", sa.Integer(), nullable=False),
        sa.Column("waiting_since", sa.Double(), nullable=False),
        sa.Column("place", sa.Double(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worklist_entries")),
        sa.UniqueConstraint("key", name=op.f("uq_worklist_entries_key")),
        sa.UniqueConstraint("kind", "target", name=op.f("uq_worklist_entries_kind")),
    )
    op.create_index("entries_by_accession", "worklist_entries", ["accession_number"], unique=False)
    op.create_index("entries_by_name", "worklist_entries", ["patient_name"], unique=False)
    op.create_index("entries_by_patient", "worklist_entries", ["patient_id"], unique=False)
    op.create_index("entries_of_actor", "worklist_entries", ["actor", "changed"], unique=False)
    op.create_index(op.f("ix_worklist_entries_changed"), "worklist_entries", ["changed"], unique=False)
    op.create_index(op.f("ix_worklist_entries_person"), "worklist_entries", ["person"], unique=False)
    op.create_index("latest_entry", "worklist_entries", ["open", "changed", "kind", "state", "department", "modality", "model",
        "urgency"], unique=False)
    op.create_index("latest_entry_of_department", "worklist_entries", ["department", "open", "changed", "kind", "state",
        "modality", "model", "urgency"], unique=False)
    op.create_index("next_entry", "worklist_entries", ["open", "place", "id", "kind", "state", "department", "modality",
        "model"], unique=False)
    op.create_index("next_entry_of_department", "worklist_entries", ["department", "open", "place", "id", "kind", "state",
        "modality", "model"], unique=False)
    op.create_table("audit_persons",
        sa.Column("person", sa.String(length=32), nullable=False),
        sa.Column("line_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["audit.id"], name=op.f("fk_audit_persons_line_id_audit")),
        sa.PrimaryKeyConstraint("person", "line_id", name=op.f("pk_audit_persons")),
    )
    op.create_index(op.f("ix_audit_persons_line_id"), "audit_persons", ["line_id"], unique=False)
    op.create_table("verdict_objects",
        sa.Column("verdict_id", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdicts.id"], name=op.f("fk_verdict_objects_verdict_id_verdicts")),
        sa.PrimaryKeyConstraint("verdict_id", "place", name=op.f("pk_verdict_objects")),
    )
    op.create_index(op.f("ix_verdict_objects_sha256"), "verdict_objects", ["sha256"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("""
            CREATE FUNCTION audit_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
            DECLARE line bigint;
            BEGIN
              line := (to_jsonb(OLD) ->> CASE TG_TABLE_NAME WHEN 'audit' THEN 'id' ELSE 'line_id' END)::bigint;
              IF TG_OP = 'DELETE' AND EXISTS (SELECT 1 FROM audit_cursors WHERE name = 'start' AND line_id > line) THEN
                RETURN OLD;
              END IF;
              RAISE EXCEPTION 'the audit is only ever added to';
            END $$""")
        for table in ("audit", "audit_persons"):
            op.execute(f"CREATE TRIGGER {table}_is_kept BEFORE UPDATE OR DELETE ON {table} "
                       "FOR EACH ROW EXECUTE FUNCTION audit_is_kept()")
    else:
        for table, line in (("audit", "id"), ("audit_persons", "line_id")):
            op.execute(f"CREATE TRIGGER {table}_is_kept BEFORE UPDATE ON {table} "
                       "BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END")
            op.execute(f"CREATE TRIGGER {table}_is_pruned BEFORE DELETE ON {table} WHEN NOT EXISTS "  # noqa: S608  names of ours
                       f"(SELECT 1 FROM audit_cursors WHERE name = 'start' AND line_id > OLD.{line}) "
                       "BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END")
