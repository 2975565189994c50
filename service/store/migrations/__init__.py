"""The migrations: how the tables came to be, one file a step in versions/. Run by the store whenever it is opened."""
