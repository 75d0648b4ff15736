"""A gate for repositories that change a variant. It measures the variant again and compares it with a baseline."""
