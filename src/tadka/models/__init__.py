"""Models: five functions each, on top of streams."""
