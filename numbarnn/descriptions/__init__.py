"""What a description is: its fields and their checks, its fingerprint, its docstring and keywords."""
