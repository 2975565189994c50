"""MONAI Bundles become releases: their config is read as data, never run, and what has no exact counterpart is refused."""
