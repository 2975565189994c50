"""Data sources, one file each: files on disk to Volumes or Records with labels and patient groups."""
