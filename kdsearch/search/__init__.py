"""Many pipelines: drawn, run side by side, stopped, resumed."""
