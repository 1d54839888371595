"""`/fog/invite/1.0.0`."""
