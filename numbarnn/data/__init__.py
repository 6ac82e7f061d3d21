"""Series, text and data sets."""
