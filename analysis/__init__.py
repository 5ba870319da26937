"""Answers: one chart a file. Installed as kdsearch.analysis."""
