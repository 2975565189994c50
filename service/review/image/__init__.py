"""The image page: the radiograph or the slices, what a model drew on them as a layer of its own, and what it says."""
