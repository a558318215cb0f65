"""Reports, derived from verdicts and evidence and nothing else."""
