"""Our libp2p host beside the stock library and js-libp2p, over loopback TCP in two processes."""
