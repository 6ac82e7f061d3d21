"""What a network is made of: its structure, what it reads, its function, its predictions and its loss."""
