"""The pages of the monitor: how each release does here over time, and what is not as it was."""
