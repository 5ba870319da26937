"""Questions: one file a space. Installed as kdsearch.search_spaces."""
