"""`/fog/registry/1.0.0`: signed descriptions of peers, exchanged, kept and asked for.

Spec: specs/registry/registry-v1.md.
"""
