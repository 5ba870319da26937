"""Files: whole or not at all, in a folder or a bucket."""
