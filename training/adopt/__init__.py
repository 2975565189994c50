"""Take classifiers over that others trained: weights or a graph in, a release folder out that says what is not known."""
