"""Results: one file per model and task, the metrics of its score, and how certain the score is."""
