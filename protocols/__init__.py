"""One folder per protocol: messages and machine are pure, only the handler is async."""

if __name__ != "fogp2p.protocols":
    raise ImportError("import fogp2p.protocols, not protocols")
