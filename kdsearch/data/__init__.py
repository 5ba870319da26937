"""Images: read, split, changed."""
