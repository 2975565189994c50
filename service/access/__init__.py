"""Access: who asks, whether they may, and how people and programs say who they are."""
