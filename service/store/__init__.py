"""The store: what was received, what was made of it and where it went. SQLAlchemy tables, and files by their hash."""
