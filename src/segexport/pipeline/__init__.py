"""What a step is, and how a recipe's steps become artifacts."""
