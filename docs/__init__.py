"""The manual as `fogp2p docs` shows it: the same Markdown files as in the repository."""

if __name__ != "fogp2p.manual":
    raise ImportError("import fogp2p.manual, not docs")
