"""One file a step. After changing tables.py: a new file here, and the test of the migrations tells what it lacks."""
