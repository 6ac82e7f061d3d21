"""A graph part by part: what it is made of, a pass through it and back, its predictions, its losses."""
