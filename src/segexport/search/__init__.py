"""The search for the best compression that keeps what was promised: propose, evaluate, judge."""
