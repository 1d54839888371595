"""The specifications' machine-readable parts: CDDL schemas and conformance vectors.

The same files are printed in the specification texts and read by `fogp2p.codec`.
"""

if __name__ != "fogp2p.specs":
    raise ImportError("import fogp2p.specs, not specs")
