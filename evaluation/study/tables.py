"""Tables of a study's database, and the triggers that keep their rows as they are."""

import sqlalchemy as sa

METADATA = sa.MetaData()
_TEXT, _WHEN = sa.String(200), sa.String(32)

REGISTRATIONS = sa.Table(
    "registrations", METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("registered_at", _WHEN, nullable=False),
)  # fmt: skip
"""The study, as it was when it was opened."""
INVITATIONS = sa.Table(
    "invitations", METADATA,
    sa.Column("rater", _TEXT, primary_key=True),
    sa.Column("edition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)  # fmt: skip
"""Links that were issued; of a rater the highest edition is good."""
ACCEPTANCES = sa.Table(
    "acceptances", METADATA,
    sa.Column("rater", _TEXT, primary_key=True),
    sa.Column("edition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("browser", sa.String(64), nullable=False, unique=True),
    sa.Column("accepted_at", _WHEN, nullable=False),
)  # fmt: skip
"""The one browser that took a link, by the hash of its secret."""
PLACES = sa.Table(
    "places", METADATA,
    sa.Column("rater", _TEXT, primary_key=True),
    sa.Column("place", sa.Integer, nullable=False, unique=True),
)  # fmt: skip
"""A rater's place in the design, given when they begin."""
PLAYS = sa.Table(
    "plays", METADATA,
    sa.Column("rater", _TEXT, primary_key=True),
    sa.Column("task", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("clip", sa.String(16), nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("finished_at", _WHEN, nullable=False),
)  # fmt: skip
"""Videos that have played to their end."""
ANSWERS = sa.Table(
    "answers", METADATA,
    sa.Column("rater", _TEXT, primary_key=True),
    sa.Column("task", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("clips", sa.Text, nullable=False),
    sa.Column("systems", sa.Text, nullable=False),
    sa.Column("swapped", sa.Boolean, nullable=False),
    sa.Column("scores", sa.Text, nullable=False),
    sa.Column("answered_at", _WHEN, nullable=False),
)  # fmt: skip
"""What raters said, with what they were shown."""


_FUNCTION = (
    "CREATE OR REPLACE FUNCTION tempo_append_only() RETURNS trigger AS $$ "
    "BEGIN RAISE EXCEPTION '%% is append-only', TG_TABLE_NAME; END $$ LANGUAGE plpgsql"
)


def _append_only(table: sa.Table, connection: sa.Connection, **_: object) -> None:
    """Have the database itself refuse to change or delete rows of a table that was made."""
    name = table.name
    body = f"BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END"
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_FUNCTION)
        body = "FOR EACH ROW EXECUTE FUNCTION tempo_append_only()"
    for action in ("UPDATE", "DELETE"):
        connection.exec_driver_sql(
            f"CREATE TRIGGER {name}_no_{action.lower()} BEFORE {action} ON {name} {body}"
        )


for _table in METADATA.sorted_tables:
    sa.event.listen(_table, "after_create", _append_only)
