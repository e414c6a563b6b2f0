"""What a user writes, as type checkers see it."""
