"""Reports of outside checks, one JSON a release and data set, written by `python -m training recalibrate`."""
