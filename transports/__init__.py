"""How bytes reach another peer. Each folder implements interfaces of `fogp2p.host`."""

if __name__ != "fogp2p.transports":
    raise ImportError("import fogp2p.transports, not transports")
