"""What the doctor looks at. Each check takes the context and yields its findings."""
