"""The makers of data-samples/: images drawn from models of the training split, bundles, and refused inputs."""
