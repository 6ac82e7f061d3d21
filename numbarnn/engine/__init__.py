"""What both targets share."""
