"""What came out of a search. No torch."""
