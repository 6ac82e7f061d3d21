"""The main job: a network that counts, and one that forecasts sunspots."""
