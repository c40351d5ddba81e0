"""From a profile to rows: train, explain, score, replicate, report. Alone joins network, method and metric."""
