"""One suite an interface: whatever implements it is put through the same tests."""
