"""What training minimises, how it is weighted, and at which times."""
