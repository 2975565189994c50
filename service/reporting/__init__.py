"""Reports: a deterministic draft from the results of a study, its edits, its validation by a professional, and its pages."""
