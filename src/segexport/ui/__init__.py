"""What a person looks at: the terminal, plain tables, pictures of masks."""
