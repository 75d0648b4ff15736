"""A gate for a repository that changes a variant: what was measured once, measured again, and what got worse."""
