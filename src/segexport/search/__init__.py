"""The search for the best compression within an accuracy budget: propose, evaluate, judge."""
