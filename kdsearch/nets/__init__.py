"""Networks: built, cut at their layers, measured."""
