"""Recorded searches, whole: what `kdsearch replay` compares stopping rules on. Installed as kdsearch.tables."""
