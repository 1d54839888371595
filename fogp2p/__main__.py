"""`python -m fogp2p` is the command line."""

from fogp2p.cli import main

main()
