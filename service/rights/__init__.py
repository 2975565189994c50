"""Patients' rights: erasure, access, opposition and legal hold, retention, and sets that leave for training or research."""
