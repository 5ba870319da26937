"""Machines: joining Ray, and what must hold on each node."""
