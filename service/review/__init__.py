"""What the clinician sees: a worklist, explained images and risks, verdicts, reports, models, who looked, and rights."""
